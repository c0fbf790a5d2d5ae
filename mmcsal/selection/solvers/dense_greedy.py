"""Lazy greedy on one block of the kernel, in integers.

Marginal gains of the coverage only fall as picks are added, and so does the redundancy term (the largest kernel to
a pick only grows): a gain computed earlier is an upper bound now. The best bound that is still true after it has been
computed again is the next pick, exactly as in plain greedy (Minoux 1978).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.numerics.kernel import ONE

NOTHING = np.zeros(0, np.int64)
SAFE_ROWS = 2**16  # whose kernels add up to less than 2^32


@dataclass(frozen=True)
class Picks:
    """Picks of one block in the order they were taken; the order of equal gains is the order of the rows."""

    candidate_P: np.ndarray  # int64, rows of `kernel_CN`
    gain_P: np.ndarray  # int64, of the whole objective; gain per cost never rises
    coverage_P: np.ndarray  # int64, the coverage term of the gain
    mass_P: np.ndarray  # int64, columns that this pick is nearest to among the picks


def lazy_greedy(
    kernel_CN: np.ndarray,
    column_C: np.ndarray,
    base_N: np.ndarray,
    bonus_C: np.ndarray,
    max_picks: int,
    *,
    weight_N: np.ndarray = NOTHING,
    cost_C: np.ndarray | None = None,
    redundancy_unit: int = 0,
    redundancy_C: np.ndarray | None = None,
) -> Picks:
    """Picks at most `max_picks` of C candidates for the N rows that they may cover, by gain per cost.

    Args:
        kernel_CN: uint16, candidates by rows; both sorted by sample_id.
        column_C: int64, where each candidate lies among the rows.
        base_N: uint16, the coverage that each row has before the first pick.
        bonus_C: int64, what each candidate adds whatever else is picked (its alignment).
        weight_N: int64, how often each row counts; empty = once.
        cost_C: float64, what each candidate costs; 1 by default.
        redundancy_unit: what a pick loses at a kernel of 65535 to an earlier pick, in the unit of the gains.
        redundancy_C: uint16, largest kernel of each candidate to samples that are labeled already.
    """
    num_picks = min(max_picks, len(kernel_CN))
    close_C = np.zeros(len(kernel_CN), np.uint16) if redundancy_C is None else redundancy_C.astype(np.uint16)
    pick_P, gain_P, coverage_P = np.zeros((3, num_picks), np.int64)
    owner_N = np.full(len(base_N), -1, np.int64)
    covered_N = base_N.astype(np.uint16)
    bonus_C = bonus_C.astype(np.int64)
    cost_C = np.ones(len(kernel_CN)) if cost_C is None else cost_C.astype(np.float64)
    _lazy_greedy(
        kernel_CN, column_C, covered_N, weight_N, bonus_C, cost_C, redundancy_unit, close_C,
        pick_P, gain_P, coverage_P, owner_N,
    )  # fmt: skip
    mass_P = np.bincount(owner_N[owner_N >= 0], minlength=num_picks)
    return Picks(pick_P, gain_P, coverage_P, mass_P)


@njit(cache=True, nogil=True)
def _coverage_gain(row_N, covered_N, weight_N):
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
def _before(key_x, x, key_y, y):
    return key_x > key_y or (key_x == key_y and x < y)


@njit(cache=True, nogil=True)
def _sift_down(heap, key_C, start):
    parent, item = start, heap[start]
    while True:
        child = 2 * parent + 1
        if child >= heap.shape[0]:
            break
        right = child + 1
        if right < heap.shape[0] and _before(key_C[heap[right]], heap[right], key_C[heap[child]], heap[child]):
            child = right
        if not _before(key_C[heap[child]], heap[child], key_C[item], item):
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = item


@njit(cache=True, nogil=True)
def _loss(close, unit):
    return (np.int64(close) * unit) // ONE


@njit(cache=True, nogil=True)
def _take(pick, place, kernel_CN, column_C, covered_N, close_C, owner_N, owner_kernel_N):
    for n in range(covered_N.shape[0]):
        value = kernel_CN[pick, n]
        covered_N[n] = max(covered_N[n], value)
        if value > owner_kernel_N[n]:
            owner_kernel_N[n] = value
            owner_N[n] = place
    for c in range(column_C.shape[0]):
        close_C[c] = max(close_C[c], kernel_CN[pick, column_C[c]])


@njit(cache=True, nogil=True)
def _lazy_greedy(
    kernel_CN, column_C, covered_N, weight_N, bonus_C, cost_C, unit, close_C, pick_P, gain_P, coverage_P, owner_N
):
    num_candidates = kernel_CN.shape[0]
    owner_kernel_N = np.zeros(covered_N.shape[0], np.uint16)
    gain_C = np.empty(num_candidates, np.int64)
    key_C = np.empty(
        num_candidates, np.float64
    )  # exact: gains stay below 2^53, and a division rounds the same anywhere
    coverage_C = np.empty(num_candidates, np.int64)
    current_C = np.zeros(num_candidates, np.int64)  # number of picks that the gain knows of
    heap = np.arange(num_candidates)
    for c in range(num_candidates):
        coverage_C[c] = _coverage_gain(kernel_CN[c], covered_N, weight_N)
        gain_C[c] = coverage_C[c] + bonus_C[c] - _loss(close_C[c], unit)
        key_C[c] = gain_C[c] / cost_C[c]
    for start in range(num_candidates // 2 - 1, -1, -1):
        _sift_down(heap, key_C, start)
    for place in range(pick_P.shape[0]):
        while current_C[heap[0]] != place:
            c = heap[0]
            coverage_C[c] = _coverage_gain(kernel_CN[c], covered_N, weight_N)
            gain_C[c] = coverage_C[c] + bonus_C[c] - _loss(close_C[c], unit)
            key_C[c] = gain_C[c] / cost_C[c]
            current_C[c] = place
            _sift_down(heap, key_C, 0)
        pick = heap[0]
        pick_P[place], gain_P[place], coverage_P[place] = pick, gain_C[pick], coverage_C[pick]
        _take(pick, place, kernel_CN, column_C, covered_N, close_C, owner_N, owner_kernel_N)
        heap[0] = heap[heap.shape[0] - 1]
        heap = heap[: heap.shape[0] - 1]
        if heap.shape[0] > 0:
            _sift_down(heap, key_C, 0)
