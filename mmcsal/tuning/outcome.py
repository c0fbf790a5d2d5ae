"""What a search has found: the best settings, and whether they beat the present ones beyond chance on fresh seeds."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from scipy import stats

from mmcsal.evaluation.statistics import Difference, Results, difference, results_of
from mmcsal.tuning.spec import Settings, put

PRESENT = 0  # the number of the settings that the run has now
SEARCH, CHECK = "search", "check"
LIKELY_CHANCE = 0.05  # p-value from which a gain is no reason to change settings; shared by all finalists
# Coverage of samples never selected is all that is known without labels. It does not rank near-equal settings, so
# less of a difference says nothing (Spearman .3 with accuracy among sensible ones: docs/tuning.md).
TELLING_COVERAGE = 0.02
MIN_CORRELATED = 4


@dataclass(frozen=True)
class SettingLine:
    """One setting on the seeds of the search, in the mean over budgets and seeds."""

    setting: int
    settings: Settings
    num_seeds: int
    accuracy: float | None
    coverage: float
    gain: float  # of the objective over the present settings, on the same seeds


@dataclass(frozen=True)
class Outcome:
    """The answer, and what it is worth."""

    objective: str  # accuracy, or coverage where there are no labels
    lines: list[SettingLine]  # the best first
    finalist: int  # the best on fresh seeds beside the present settings
    gain: Difference  # of the finalist over the present settings, on fresh seeds
    coverage_ratio: float  # of the finalist / of the present settings, on fresh seeds
    chosen: int
    correlation: float | None  # rank correlation of coverage with accuracy over settings; None = not known

    def settings(self, number: int) -> Settings:
        """By number of the setting."""
        return next(line.settings for line in self.lines if line.setting == number)


def finalists_of(table: pa.Table, num_finalists: int) -> list[int]:
    """The best settings of the search that differ from the present ones; of those given up early none.

    Args:
        table: of the TUNING schema.
    """
    lines = lines_of(table)
    most = max(line.num_seeds for line in lines)
    (present,) = (line.settings for line in lines if line.setting == PRESENT)
    found: list[SettingLine] = []
    for line in lines:
        if line.num_seeds == most and line.settings not in [present, *(other.settings for other in found)]:
            found.append(line)
    return [line.setting for line in found[:num_finalists]]


def outcome_of(table: pa.Table) -> Outcome:
    """What the trials say.

    Args:
        table: of the TUNING schema, with settings that were checked, the present ones among them.
    """
    lines, objective = lines_of(table), objective_of(table)
    checked = _results(table, CHECK, objective)
    means_T = checked.value_TBS.mean(axis=(1, 2))
    rivals = [n for n, name in enumerate(checked.strategies) if name != str(PRESENT)]
    finalist = checked.strategies[max(rivals, key=lambda n: means_T[n])]
    gain = difference(checked, finalist, str(PRESENT))
    covered = _results(table, CHECK, "coverage")
    ratio = float(covered.of(finalist).mean() / covered.of(str(PRESENT)).mean())
    is_better = gain.mean > 0 and gain.p_value < LIKELY_CHANCE / len(rivals)
    if objective == "coverage":
        is_better = is_better and ratio > 1 + TELLING_COVERAGE
    chosen = int(finalist) if is_better else PRESENT
    return Outcome(objective, lines, int(finalist), gain, ratio, chosen, _correlation(lines))


def objective_of(table: pa.Table) -> str:
    """What is to be large."""
    return "coverage" if table["accuracy"].null_count else "accuracy"


def lines_of(table: pa.Table) -> list[SettingLine]:
    """Every setting of the search, those on most seeds first and among them the best.

    Gains are over the present settings on the same seeds, so a trial that was given up early is compared fairly.
    """
    rows = table.filter(pc.field("phase") == SEARCH).to_pylist()
    objective = objective_of(table)
    by_setting: dict[int, list[dict]] = {}
    for row in rows:
        by_setting.setdefault(row["setting"], []).append(row)
    present = {(row["budget"], row["seed"]): row[objective] for row in by_setting[PRESENT]}
    lines = []
    for number, own in by_setting.items():
        lines.append(
            SettingLine(
                setting=number,
                settings=json.loads(own[0]["settings"]),
                num_seeds=len({row["seed"] for row in own}),
                accuracy=None if objective == "coverage" else float(np.mean([row["accuracy"] for row in own])),
                coverage=float(np.mean([row["coverage"] for row in own])),
                gain=float(np.mean([row[objective] - present[row["budget"], row["seed"]] for row in own])),
            )
        )
    return sorted(lines, key=lambda line: (-line.num_seeds, -line.gain, line.setting))


def fragment_of(outcome: Outcome, heading: list[str]) -> str:
    """The chosen settings as YAML that every command takes with `--config`.

    Args:
        heading: lines of comment above it.
    """
    content: dict = {}
    for key, value in outcome.settings(outcome.chosen).items():
        if value is not None:  # None: the present strategy has no such key
            put(content, key, value)
    return "".join(f"# {line}\n" for line in heading) + yaml.safe_dump(content, sort_keys=False)


def _results(table: pa.Table, phase: str, figure: str) -> Results:
    """The trials of a phase as an array, settings by their numbers as text."""
    found = table.filter(pc.field("phase") == phase)
    return results_of(found.append_column("strategy", found["setting"].cast(pa.string())), figure)


def _correlation(lines: list[SettingLine]) -> float | None:
    most = max(line.num_seeds for line in lines)
    pairs = [(line.coverage, line.accuracy) for line in lines if line.num_seeds == most and line.accuracy is not None]
    if len(pairs) < MIN_CORRELATED:
        return None
    rank_2N = stats.rankdata(pairs, axis=0).T
    if (rank_2N.std(axis=1) == 0).any():  # all alike: nothing to compare
        return None
    return float(np.corrcoef(rank_2N)[0, 1])
