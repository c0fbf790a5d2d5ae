"""Lazy greedy on one block of the kernel, in integers.

Marginal gains of the coverage only fall as picks are added, and so does the redundancy term (the largest kernel to
a pick only grows): a gain computed earlier is an upper bound now. The best bound that is still true after it has been
computed again is the next pick, exactly as in plain greedy (Minoux 1978).
"""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from mmcsal.selection.solvers.neighbor_graph import redundancy_loss

NOTHING = np.zeros(0, np.int64)
ONE_PART = np.ones(1, np.int64)
SAFE_ROWS = 2**16  # whose kernels add up to less than 2^32


class _Block(NamedTuple):
    """The candidates of a block, and what the objective sees of them; compiled functions take it whole."""

    kernel_CN: np.ndarray  # uint16
    column_C: np.ndarray  # int64
    weight_N: np.ndarray  # int64; empty = every row counts once
    part_weight_U: np.ndarray  # int64
    bonus_C: np.ndarray  # int64
    cost_C: np.ndarray  # float64
    redundancy_unit: int


class _Covered(NamedTuple):
    """What rows and candidates know of the picks so far; changed in place."""

    kernel_N: np.ndarray  # uint16, of each row to the closest pick, or what it had before
    closeness_C: np.ndarray  # uint16, of each candidate to the closest pick or labeled sample
    owner_N: np.ndarray  # int64, the pick that is closest to each row; -1 = none
    owner_kernel_N: np.ndarray  # uint16, the kernel to it


@dataclass(frozen=True)
class Picks:
    """Picks of one block in the order they were taken; the order of equal gains is the order of the rows."""

    candidate_P: np.ndarray  # int64, rows of `kernel_CN`
    gain_P: np.ndarray  # int64, of the whole objective; gain per cost never rises
    coverage_P: np.ndarray  # int64, the coverage term of the gain
    mass_P: np.ndarray  # int64, columns that this pick is nearest to among the picks, as often as their part counts


def lazy_greedy(
    kernel_CN: np.ndarray,
    column_C: np.ndarray,
    base_N: np.ndarray,
    bonus_C: np.ndarray,
    max_picks: int,
    *,
    weight_N: np.ndarray = NOTHING,
    part_weight_U: np.ndarray = ONE_PART,
    cost_C: np.ndarray | None = None,
    redundancy_unit: int = 0,
    redundancy_C: np.ndarray | None = None,
) -> Picks:
    """Picks at most `max_picks` of C candidates for the N rows that they may cover, by gain per cost.

    Args:
        kernel_CN: uint16, candidates by rows; both sorted by sample_id. Of several parts of the coverage, the columns
            of one part after those of the other.
        column_C: int64, where each candidate lies among the columns.
        base_N: uint16, the coverage that each row has before the first pick.
        bonus_C: int64, what each candidate adds whatever else is picked (its alignment).
        weight_N: int64, how often each row counts; empty = once.
        part_weight_U: int64, what each part of the coverage counts.
        cost_C: float64, what each candidate costs; 1 by default.
        redundancy_unit: what a pick loses at a kernel of 65535 to an earlier pick, in the unit of the gains.
        redundancy_C: uint16, largest kernel of each candidate to samples that are labeled already.
    """
    num_candidates, num_rows = kernel_CN.shape
    block = _Block(
        kernel_CN=kernel_CN,
        column_C=column_C,
        weight_N=weight_N,
        part_weight_U=part_weight_U,
        bonus_C=bonus_C.astype(np.int64),
        cost_C=np.ones(num_candidates) if cost_C is None else cost_C.astype(np.float64),
        redundancy_unit=redundancy_unit,
    )
    covered = _Covered(
        kernel_N=base_N.astype(np.uint16),
        closeness_C=np.zeros(num_candidates, np.uint16) if redundancy_C is None else redundancy_C.astype(np.uint16),
        owner_N=np.full(num_rows, -1, np.int64),
        owner_kernel_N=np.zeros(num_rows, np.uint16),
    )
    num_picks = min(max_picks, num_candidates)
    pick_P, gain_P, coverage_P = np.zeros((3, num_picks), np.int64)
    _lazy_greedy(block, covered, pick_P, gain_P, coverage_P)
    mass_P = _masses(covered.owner_N, part_weight_U, num_picks)
    return Picks(pick_P, gain_P, coverage_P, mass_P)


def _masses(owner_N: np.ndarray, part_weight_U: np.ndarray, num_picks: int) -> np.ndarray:
    mass_P = np.zeros(num_picks, np.int64)
    for owner, weight in zip(np.split(owner_N, len(part_weight_U)), part_weight_U, strict=True):
        mass_P += weight * np.bincount(owner[owner >= 0], minlength=num_picks)
    return mass_P


@njit(cache=True, nogil=True)
def _coverage_gain(row_N, covered_N, weight_N, part_weight_U):
    total, num_rows = np.int64(0), row_N.shape[0] // part_weight_U.shape[0]
    for u in range(part_weight_U.shape[0]):
        if part_weight_U[u] > 0:
            start, stop = u * num_rows, (u + 1) * num_rows
            total += part_weight_U[u] * _gain_of_part(row_N[start:stop], covered_N[start:stop], weight_N)
    return total


@njit(cache=True, nogil=True)
def _gain_of_part(row_N, covered_N, weight_N):
    total = np.int64(0)
    if weight_N.shape[0] > 0:
        for n in range(row_N.shape[0]):
            if row_N[n] > covered_N[n]:
                total += (np.int64(row_N[n]) - np.int64(covered_N[n])) * weight_N[n]
        return total
    for start in range(0, row_N.shape[0], SAFE_ROWS):  # without a branch and in 32 bits: a loop over vectors
        part = np.uint32(0)
        for n in range(start, min(start + SAFE_ROWS, row_N.shape[0])):
            part = np.uint32(part + np.uint32(max(row_N[n], covered_N[n]) - covered_N[n]))
        total += part
    return total


@njit(cache=True, nogil=True)
def _take(pick, place, block, covered):
    kernel_N, closeness_C = covered.kernel_N, covered.closeness_C
    owner_N, owner_kernel_N = covered.owner_N, covered.owner_kernel_N
    for n in range(kernel_N.shape[0]):
        value = block.kernel_CN[pick, n]
        kernel_N[n] = max(kernel_N[n], value)
        if value > owner_kernel_N[n]:
            owner_kernel_N[n] = value
            owner_N[n] = place
    for c in range(closeness_C.shape[0]):
        closeness_C[c] = max(closeness_C[c], block.kernel_CN[pick, block.column_C[c]])


@njit(cache=True, nogil=True)
def _lazy_greedy(block, covered, pick_P, gain_P, coverage_P):
    kernel_CN, weight_N, kernel_N = block.kernel_CN, block.weight_N, covered.kernel_N
    num_candidates = kernel_CN.shape[0]
    gain_C, coverage_C = np.zeros(num_candidates, np.int64), np.zeros(num_candidates, np.int64)
    known_C = np.full(num_candidates, -1, np.int64)  # number of picks that a gain knows of: later it is an upper bound
    heap = [(-np.inf, c) for c in range(num_candidates)]  # the best is the smallest; nothing is known of any yet
    for place in range(pick_P.shape[0]):
        while known_C[heap[0][1]] != place:
            c = heap[0][1]
            coverage_C[c] = _coverage_gain(kernel_CN[c], kernel_N, weight_N, block.part_weight_U)
            loss = redundancy_loss(covered.closeness_C[c], block.redundancy_unit)
            gain_C[c], known_C[c] = coverage_C[c] + block.bonus_C[c] - loss, place
            # Exact: gains stay below 2^53, and a division rounds the same anywhere.
            heapq.heapreplace(heap, (-(gain_C[c] / block.cost_C[c]), c))
        pick = heapq.heappop(heap)[1]
        pick_P[place], gain_P[place], coverage_P[place] = pick, gain_C[pick], coverage_C[pick]
        _take(pick, place, block, covered)
