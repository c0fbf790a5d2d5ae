"""The trials as a table of text: what is printed, and what stands in the report."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmcsal.evaluation.spec import BASELINE, OURS, UNIMODAL
from mmcsal.evaluation.statistics import Difference, Results, average_ranks, difference

SIGNIFICANT = 0.01  # p-value below which a difference is marked


@dataclass(frozen=True)
class StrategyLine:
    """One strategy: accuracies in points, by budget, and how it stands among the others."""

    strategy: str
    mean_B: list[float]
    std_B: list[float]
    gain_B: list[float]  # over random picks
    p_value_B: list[float]  # that the gain is chance
    average_rank: float
    behind: Difference | None  # what mmcsal is ahead of it, over all budgets; None = of itself, or it takes no part

    @property
    def cells(self) -> list[tuple[float, float, float]]:
        """Mean, standard deviation and p-value by budget."""
        return list(zip(self.mean_B, self.std_B, self.p_value_B, strict=True))


def lines_of(results: Results, ranks: Mapping[str, float] | None = None) -> list[StrategyLine]:
    """The strategies by average rank, the best first.

    Args:
        ranks: of the strategies that take part; None = all, by their ranks in these results.
    """
    ranks = average_ranks(results, results.strategies) if ranks is None else ranks
    lines = []
    for name in sorted(ranks, key=lambda name: ranks[name]):
        gains = [difference(results, name, BASELINE, budget) for budget in results.budgets]
        points_BS = 100 * results.of(name)
        ddof = min(1, points_BS.shape[1] - 1)
        lines.append(
            StrategyLine(
                strategy=name,
                mean_B=points_BS.mean(axis=1).tolist(),
                std_B=points_BS.std(axis=1, ddof=ddof).tolist(),
                gain_B=[100 * gain.mean for gain in gains],
                p_value_B=[gain.p_value for gain in gains],
                average_rank=ranks[name],
                behind=None if name == OURS or OURS not in results.strategies else difference(results, OURS, name),
            )
        )
    return lines


def text_of(results: Results, ranks: Mapping[str, float] | None = None) -> list[str]:
    """Rows of text of equal columns; an asterisk: other than random with p < .01. Ranks as for `lines_of`."""
    lines = lines_of(results, ranks)
    width = max(len(line.strategy) for line in lines) + 2
    head = "".join(f"{f'{budget:.3g}':>17}" for budget in results.budgets)
    has_ours = OURS in results.strategies
    ours_head = f"{OURS} is ahead by" if has_ours else ""
    rows = [
        "accuracy in points by budget",
        f"{'':<{width}}{head}{'average rank':>15}{ours_head:>20}".rstrip(),
    ]
    for line in lines:
        cells = "".join(
            f"{f'{mean:.1f} +- {std:.1f}' + ('*' if p < SIGNIFICANT else ' '):>17}" for mean, std, p in line.cells
        )
        behind = points_text(line.behind) if line.behind else ""
        rows.append(f"{line.strategy:<{width}}{cells}{line.average_rank:>15.2f}{behind:>20}".rstrip())
    ahead = "; ahead: over all budgets, +- standard error" if has_ours else ""
    rows.append(
        f"mean +- standard deviation over {len(results.seeds)} seeds; * differs from {BASELINE} with p < .01{ahead} "
        "(paired over seeds, corrected for overlapping splits)"
    )
    return [*rows, *_alone(results)]


def _alone(results: Results) -> list[str]:
    """Which modality alone would have been best, by the means of the strategies that saw one; empty if none did."""
    points = {
        told: [100 * results.of(c.name).mean() for c in UNIMODAL if c.modality == seen and c.name in results.strategies]
        for seen, told in (("a", "first"), ("v", "second"))
    }
    if not all(points.values()):
        return []
    mean = {told: float(np.mean(found)) for told, found in points.items()}
    other, best = sorted(mean, key=lambda told: mean[told])
    return [
        f"of one modality alone the {best} was the better to select by: {mean[best]:.1f} points against "
        f"{mean[other]:.1f} of the {other}, in the mean over budgets and the strategies that saw one"
    ]


def points_text(found: Difference) -> str:
    """Such as `+1.23 +- 0.45`; without an error where one seed tells none."""
    error = "" if np.isnan(found.standard_error) else f" +- {100 * found.standard_error:.2f}"
    return f"{100 * found.mean:+.2f}{error}"
