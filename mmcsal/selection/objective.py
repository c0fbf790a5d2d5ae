"""The objective of a selection, measured on a sample of the pool, and what it is worth against random picks."""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.kernel import FAR, ONE, Kernel, kernel_block, kernel_of, square_distances

NUM_REPEATS = 4  # orders of random picks that the curve averages
CHUNK_PICKS = 256


@dataclass(frozen=True)
class Terms:
    """The three terms, each in [0, 1]."""

    coverage: float
    alignment: float
    redundancy: float


@dataclass(frozen=True)
class RandomEquivalent:
    """How many random picks cover as much; `is_bound` = at least so many, the sample held no more."""

    budget: int
    is_bound: bool


def evaluate(
    rows_ND: np.ndarray,
    picks_PD: np.ndarray,
    alignment_P: np.ndarray,
    redundancy_P: np.ndarray,
    kernel: Kernel,
    *,
    base_N: np.ndarray | None = None,
    align_threshold: float = 0.3,
) -> Terms:
    """Cov, Align and Red of picks in the order of their ranks.

    Args:
        rows_ND: quantised joint embeddings, int16: a sample of the pool.
        picks_PD: the same of the picks.
        alignment_P: r of the picks.
        redundancy_P: uint16, the largest kernel of each pick to the picks before it.
        base_N: uint16, what the labeled samples cover already.
    """
    covered_N = largest_kernel(rows_ND, picks_PD, kernel)
    if base_N is not None:
        covered_N = np.maximum(covered_N, base_N)
    alignment = float(np.minimum(1.0, alignment_P / align_threshold).mean())
    return Terms(float(covered_N.mean(dtype=np.float64)) / ONE, alignment, float(redundancy_P.mean()) / ONE)


def largest_kernel(rows_ND: np.ndarray, to_PD: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The largest kernel of each row to any of `to_PD`, uint16 [N]."""
    covered_N = np.zeros(len(rows_ND), np.uint16)
    for start in range(0, len(to_PD), CHUNK_PICKS * 8):
        block = kernel_block(rows_ND, to_PD[start : start + CHUNK_PICKS * 8], kernel)
        covered_N = np.maximum(covered_N, block.max(axis=1))
    return covered_N


def closest_before(picks_PD: np.ndarray, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """The closest of the picks before each pick, int64 [P], -1 for the first, and the kernel to it, uint16 [P]."""
    nearest_P, distance_P = np.full(len(picks_PD), -1, np.int64), np.full(len(picks_PD), FAR, np.int32)
    for start in range(0, len(picks_PD), CHUNK_PICKS):
        stop = min(start + CHUNK_PICKS, len(picks_PD))
        block = square_distances(picks_PD[start:stop], picks_PD[:stop])
        block[np.arange(stop)[None, :] >= np.arange(start, stop)[:, None]] = FAR
        nearest_P[start:stop], distance_P[start:stop] = block.argmin(axis=1), block.min(axis=1)
    nearest_P[:1] = -1
    return nearest_P, np.where(nearest_P < 0, 0, kernel_of(distance_P, kernel)).astype(np.uint16)


def random_equivalent_budget(
    rows_ND: np.ndarray,
    random_RD: np.ndarray,
    kernel: Kernel,
    coverage: float,
    *,
    num_pool: int | None = None,
    base_N: np.ndarray | None = None,
    seed: int = 0,
) -> RandomEquivalent:
    """How many random picks reach a coverage, by the mean curve of a few seeded orders.

    Args:
        rows_ND: quantised rows that the coverage is measured on, a sample of the pool.
        random_RD: quantised rows that random picks are drawn from, the whole pool or a sample without `rows_ND`.
        num_pool: size of the pool where `random_RD` is without `rows_ND`: m random picks of the pool would hit a row
            itself with probability m / num_pool.
        base_N: uint16, what the labeled samples cover already.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(random_RD)) for _ in range(NUM_REPEATS)]
    states = [np.zeros(len(rows_ND), np.uint16) if base_N is None else base_N.copy() for _ in orders]
    for start in range(0, len(random_RD), CHUNK_PICKS):
        curve = np.zeros(min(CHUNK_PICKS, len(random_RD) - start))
        for repeat, order in enumerate(orders):
            block = kernel_block(random_RD[order[start : start + CHUNK_PICKS]], rows_ND, kernel)
            block[0] = np.maximum(block[0], states[repeat])
            running = np.maximum.accumulate(block, axis=0)
            states[repeat] = running[-1]
            curve += running.sum(axis=1, dtype=np.int64) / (ONE * len(rows_ND) * NUM_REPEATS)
        hit = np.arange(start + 1, start + 1 + len(curve)) / num_pool if num_pool else 0.0
        reached = np.flatnonzero(curve + hit * (1 - curve) >= coverage)
        if len(reached):
            return RandomEquivalent(start + 1 + int(reached[0]), False)
    return RandomEquivalent(len(random_RD), True)
