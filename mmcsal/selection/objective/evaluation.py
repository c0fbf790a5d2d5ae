"""What a selection is worth: its terms on a sample of the pool, its curve, and how many random picks cover as much."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.numerics.kernel import ONE, kernel_block
from mmcsal.selection.numerics.topk import ANY_ORDER
from mmcsal.selection.objective.coverage_parts import CoverageParts
from mmcsal.selection.objective.terms import Terms, alignment_term, mean_coverage, objective, redundancy

NUM_REPEATS = 2  # orders of random picks that the curve averages
CHUNK_PICKS = 256
MAX_CURVE_POINTS = 64


@dataclass(frozen=True)
class Evaluation:
    """What a selection is worth. Curves are pairs of a number of labels and the coverage that they reach."""

    terms: Terms
    coverage_U: list[float]  # by each part that coverage is made of
    coverage_random: float  # of as many random picks
    gain_over_random: float  # of what random picks leave uncovered, the share that the selection covers
    random_equivalent_budget: int  # how many random picks cover as much
    random_equivalent_is_bound: bool  # at least so many: the sample held no more
    coverage_curve: list[tuple[int, float]]
    random_curve: list[tuple[int, float]]
    knee: int  # labels after which each further one brings less than the average did


@dataclass(frozen=True)
class _Judges:
    """The rows that coverage is measured on."""

    rows_ND: np.ndarray  # quantised joint embeddings, int16
    coverage: CoverageParts
    base_NU: np.ndarray  # uint16, what the labeled samples cover already
    weight_N: np.ndarray  # float64


def evaluate(
    rows_ND: np.ndarray,
    picks_PD: np.ndarray,
    random_RD: np.ndarray,
    coverage: CoverageParts,
    *,
    aligned_P: np.ndarray,
    redundancy_P: np.ndarray,
    lambda_align: float,
    lambda_div: float,
    num_pool: int | None = None,
    base_NU: np.ndarray | None = None,
    weight_N: np.ndarray | None = None,
    seed: int = 0,
) -> Evaluation:
    """Everything that is said of picks in the order of their ranks.

    Args:
        random_RD: quantised rows that random picks are drawn from, the whole pool or a sample without `rows_ND`.
        num_pool: size of the pool where `random_RD` is without `rows_ND`: m random picks of the pool would hit a row
            itself with probability m / num_pool.

    Others as in `coverage`, `alignment_term`, `redundancy`, `objective`.
    """
    judges = _Judges(
        rows_ND,
        coverage,
        np.zeros((len(rows_ND), len(coverage.parts)), np.uint16) if base_NU is None else base_NU,
        np.ones(len(rows_ND)) if weight_N is None else weight_N.astype(np.float64),
    )
    covered = _running_coverage(picks_PD, judges, np.arange(len(picks_PD)))
    curve_PU = np.concatenate([_before(judges), *covered])
    curve_P = coverage.mean(curve_PU)
    num_picks, value = len(picks_PD), float(curve_P[-1])
    random_R, reached = _random_curve(random_RD, judges, num_pool, max(num_picks, 1), value, seed)
    at = min(num_picks, len(random_R) - 1)
    coverage_random = float(random_R[at])
    terms = objective(
        value, alignment_term(aligned_P), redundancy(redundancy_P), lambda_align=lambda_align, lambda_div=lambda_div
    )
    left = 1 - coverage_random
    return Evaluation(
        terms=terms,
        coverage_U=curve_PU[-1].tolist(),
        coverage_random=coverage_random,
        gain_over_random=(value - coverage_random) / left if left > 0 else 0.0,
        random_equivalent_budget=len(random_R) - 1 if reached is None else reached,
        random_equivalent_is_bound=reached is None,
        coverage_curve=_points(curve_P),
        random_curve=_points(random_R),
        knee=knee(curve_P),
    )


def knee(curve_P: np.ndarray) -> int:
    """Where a curve over 0, 1, ... picks lies furthest above the line from its beginning to its end.

    Source:
        Satopaa et al. 2011, "Finding a kneedle in a haystack".
    """
    share_P = np.arange(len(curve_P)) / max(len(curve_P) - 1, 1)
    return int((curve_P - curve_P[0] - (curve_P[-1] - curve_P[0]) * share_P).argmax())


def _running_coverage(picks_PD: np.ndarray, judges: _Judges, order_P: np.ndarray) -> Iterator[np.ndarray]:
    """The coverage after each pick by each part, float64 [P, U], in chunks of picks."""
    covered_UN = judges.base_NU.T.copy()
    for start in range(0, len(picks_PD), CHUNK_PICKS):
        chunk_PD = picks_PD[order_P[start : start + CHUNK_PICKS]]
        sum_PU = np.zeros((len(chunk_PD), len(covered_UN)))
        for u in judges.coverage.counted:
            part = judges.coverage.parts[u]
            block = kernel_block(part.of(chunk_PD), part.of(judges.rows_ND), part.kernel)
            _running_sums(block, covered_UN[u], judges.weight_N, sum_PU[:, u])
        yield sum_PU / judges.weight_N.sum() / ONE


def _before(judges: _Judges) -> np.ndarray:
    """What the labeled samples cover by each part, float64 [1, U]."""
    return mean_coverage(judges.base_NU.T, judges.weight_N)[None]


def _random_curve(
    random_RD: np.ndarray, judges: _Judges, num_pool: int | None, num_picks: int, coverage: float, seed: int
) -> tuple[np.ndarray, int | None]:
    """The mean coverage of 0, 1, ... random picks, and how many reach `coverage`; None = more than there are."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(random_RD)) for _ in range(NUM_REPEATS)]
    runs = [_running_coverage(random_RD, judges, order) for order in orders]
    curve, reached = [judges.coverage.mean(_before(judges))], None
    for start in range(0, len(random_RD), CHUNK_PICKS):
        mean = np.mean([judges.coverage.mean(next(run)) for run in runs], axis=0)
        hit = np.arange(start + 1, start + 1 + len(mean)) / num_pool if num_pool else 0.0
        curve.append(mean + hit * (1 - mean))
        found = np.flatnonzero(curve[-1] >= coverage)
        if reached is None and len(found):
            reached = start + 1 + int(found[0])
        if reached is not None and start + len(mean) >= num_picks:
            break
    return np.concatenate(curve), reached


@njit(cache=True, nogil=True, fastmath=ANY_ORDER)
def _running_sums(kernel_PN, covered_N, weight_N, sum_P):
    """What all rows are covered after each pick: sums of integers, as the weights are; `covered_N` after the last."""
    for p in range(kernel_PN.shape[0]):
        total = 0.0
        for n in range(kernel_PN.shape[1]):
            covered_N[n] = max(covered_N[n], kernel_PN[p, n])
            total += np.float64(covered_N[n]) * weight_N[n]
        sum_P[p] = total


def _points(curve_P: np.ndarray) -> list[tuple[int, float]]:
    """At most 64 points of a curve over 0, 1, ... picks, its ends among them."""
    places = np.unique(np.linspace(0, len(curve_P) - 1, MAX_CURVE_POINTS).round().astype(int))
    return [(int(p), float(curve_P[p])) for p in places]
