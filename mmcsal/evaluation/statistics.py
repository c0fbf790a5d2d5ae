"""What to make of the trials: means, paired differences, ranks, and whether they are more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from scipy import stats

from mmcsal.contracts.errors import InputError


@dataclass(frozen=True)
class Results:
    """A figure of all trials by strategy (T), budget (B) and seed (S)."""

    strategies: tuple[str, ...]
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    value_TBS: np.ndarray
    test_ratio: float  # samples of the test split / of the pool, on which trials of other seeds overlap

    def of(self, strategy: str) -> np.ndarray:
        """[B, S]."""
        return self.value_TBS[self.strategies.index(strategy)]


@dataclass(frozen=True)
class Difference:
    """Of two strategies, over seeds."""

    mean: float
    standard_error: float
    p_value: float  # that the mean is as far from 0 by chance


def results_of(trials: pa.Table, figure: str = "accuracy") -> Results:
    """The trials as an array.

    Raises:
        InputError: trials are missing.
    """
    rows = trials.to_pylist()
    strategies = tuple(dict.fromkeys(row["strategy"] for row in rows))
    budgets = tuple(sorted({row["budget"] for row in rows}))
    seeds = tuple(sorted({row["seed"] for row in rows}))
    value_TBS = np.full((len(strategies), len(budgets), len(seeds)), np.nan)
    for row in rows:
        place = strategies.index(row["strategy"]), budgets.index(row["budget"]), seeds.index(row["seed"])
        value_TBS[place] = np.nan if row[figure] is None else row[figure]
    missing = value_TBS.size - len(rows)
    if missing:
        raise InputError(
            f"evaluation: {missing} of {value_TBS.size} trials are missing; run `mmcsal evaluate` to its end"
        )
    ratio = float(np.mean([row["num_test"] / row["num_pool"] for row in rows]))
    return Results(strategies, budgets, seeds, value_TBS, ratio)


def averaged(parts: Sequence[Results]) -> Results:
    """The mean over sets of trials, seed by seed: what is paired in each of them stays paired.

    Raises:
        InputError: they are not of the same strategies, budgets and seeds.
    """
    axes = {(part.strategies, part.budgets, part.seeds) for part in parts}
    if len(axes) != 1:
        raise InputError(
            f"evaluation: {len(parts)} sets of trials have {len(axes)} lists of strategies, budgets and seeds"
        )
    value_TBS = np.mean([part.value_TBS for part in parts], axis=0)
    return replace(parts[0], value_TBS=value_TBS, test_ratio=float(np.mean([part.test_ratio for part in parts])))


def difference(results: Results, strategy: str, other: str, budget: float | None = None) -> Difference:
    """Of one strategy less another, at one budget or in the mean over all of them.

    Splits of different seeds overlap, so the trials are not independent and their own variance is too small: it is
    corrected by the ratio of the test set to what is learned from.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", 2003.
    """
    difference_BS = results.of(strategy) - results.of(other)
    if budget is not None:
        difference_BS = difference_BS[[results.budgets.index(budget)]]
    by_seed_S = difference_BS.mean(axis=0)
    num_seeds, mean = len(by_seed_S), float(by_seed_S.mean())
    if num_seeds < 2:
        return Difference(mean, float("nan"), float("nan"))
    error = float(np.sqrt(by_seed_S.var(ddof=1) * (1 / num_seeds + results.test_ratio)))
    if error == 0:
        return Difference(mean, 0.0, 1.0 if mean == 0 else 0.0)
    return Difference(mean, error, float(2 * stats.t.sf(abs(mean) / error, num_seeds - 1)))


def average_ranks(results: Results, strategies: Sequence[str]) -> dict[str, float]:
    """Mean place of each strategy among these, over budgets and seeds; 1 = always the best, ties share their places."""
    rows = [results.strategies.index(name) for name in strategies]
    rank_TBS = stats.rankdata(-results.value_TBS[rows], axis=0)
    return dict(zip(strategies, rank_TBS.mean(axis=(1, 2)).tolist(), strict=True))


def interval(value_S: np.ndarray, share: float = 0.95) -> float:
    """Half the width of the confidence interval of the mean over seeds; 0 of one seed."""
    if len(value_S) < 2:
        return 0.0
    return float(stats.t.ppf((1 + share) / 2, len(value_S) - 1) * value_S.std(ddof=1) / np.sqrt(len(value_S)))
