"""The graph of a region: each row's closest candidates; and its greedy, in integers.

A row keeps the few candidates that it is closest to, the closest first, so a region of a million rows fits into memory.
What a row does not keep counts as the coverage that it has anyway: gains are never overstated.

Gains are int64 sums of kernel differences, keys are gain / cost: a division that rounds the same on every machine. So
the same candidates are picked everywhere, ties by place, which is the order of sample_ids.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.numerics.kernel import ONE
from mmcsal.selection.objective.constraints import Limits

NOTHING = np.zeros(0, np.int64)
FORCED, NEEDED, NEEDED_DEFERRED, FREE, DEFERRED = range(5)  # phases of the greedy


@dataclass(frozen=True)
class Graph:
    """Rows by candidates, both sorted by sample_id."""

    index_NM: np.ndarray  # int32, the candidates that a row keeps, the closest first; -1 = none
    kernel_NM: np.ndarray  # uint16, the kernel to each
    start_C: np.ndarray  # int64 [C + 1]: where a candidate's rows begin in the two arrays below
    row_E: np.ndarray  # int32
    kernel_E: np.ndarray  # uint16
    cover_N: np.ndarray  # uint16, the kernel to the nearest labeled sample
    weight_N: np.ndarray  # int64; empty = every row counts once
    row_of_C: np.ndarray  # int64, the candidate's own row

    @property
    def num_candidates(self) -> int:
        return len(self.start_C) - 1


@dataclass(frozen=True)
class Worth:
    """What candidates bring and cost beside the coverage."""

    bonus_C: np.ndarray  # int64
    cost_C: np.ndarray  # float64
    is_forced_C: np.ndarray  # bool: in the batch whatever they are worth
    is_deferred_C: np.ndarray  # bool: only when nothing else is left
    redundancy_unit: int  # what a pick loses at a kernel of 1 to an earlier pick
    duplicate_kernel: int  # from this kernel to an earlier pick or a labeled sample, deferred


@dataclass(frozen=True)
class Taken:
    """Picks in the order in which they were taken."""

    pick_P: np.ndarray  # int64, candidates
    gain_P: np.ndarray  # int64, of the whole objective
    coverage_P: np.ndarray  # int64, the coverage term of the gain


def make_graph(
    index_NM: np.ndarray,
    kernel_NM: np.ndarray,
    num_candidates: int,
    *,
    cover_N: np.ndarray,
    weight_N: np.ndarray,
    row_of_C: np.ndarray,
) -> Graph:
    """The graph with its columns."""
    start_C = np.zeros(num_candidates + 1, np.int64)
    _count(index_NM, start_C[1:])
    np.cumsum(start_C, out=start_C)
    row_E, kernel_E = np.empty(start_C[-1], np.int32), np.empty(start_C[-1], np.uint16)
    _fill_columns(index_NM, kernel_NM, start_C[:-1].copy(), row_E, kernel_E)
    return Graph(index_NM, kernel_NM, start_C, row_E, kernel_E, cover_N, weight_N, row_of_C)


def greedy(graph: Graph, worth: Worth, limits: Limits, allowed_C: np.ndarray | None = None) -> Taken:
    """Lazy greedy by gain per cost within the limits; `allowed_C` restricts it to some candidates.

    Forced candidates come first, then what the least numbers of the quotas need, then all others, and last those that
    are deferred (duplicates of picks; misaligned under a gate), unless a least number needs them.
    """
    num_candidates = graph.num_candidates
    allowed_C = np.ones(num_candidates, bool) if allowed_C is None else allowed_C
    pick_P, gain_P, coverage_P = np.empty((3, num_candidates), np.int64)
    closeness_C = graph.cover_N[graph.row_of_C].copy()
    num_picks = _greedy(
        graph.index_NM, graph.kernel_NM, graph.start_C, graph.row_E, graph.kernel_E, graph.cover_N.copy(),
        graph.weight_N, graph.row_of_C, worth.bonus_C, worth.cost_C, worth.is_forced_C, worth.is_deferred_C,
        worth.redundancy_unit, worth.duplicate_kernel, closeness_C, allowed_C, limits.code_CQ, limits.max_G.copy(),
        limits.min_G.copy(), limits.budget, pick_P, gain_P, coverage_P,
    )  # fmt: skip
    return Taken(pick_P[:num_picks], gain_P[:num_picks], coverage_P[:num_picks])


def gains_in_order(graph: Graph, worth: Worth, pick_P: np.ndarray) -> Taken:
    """What each of these picks adds to the objective after those before it."""
    gain_P, coverage_P = np.empty((2, len(pick_P)), np.int64)
    _gains_in_order(
        graph.index_NM, graph.kernel_NM, graph.start_C, graph.row_E, graph.kernel_E, graph.cover_N.copy(),
        graph.weight_N, graph.row_of_C, worth.bonus_C, worth.redundancy_unit, graph.cover_N[graph.row_of_C].copy(),
        pick_P, gain_P, coverage_P,
    )  # fmt: skip
    return Taken(pick_P, gain_P, coverage_P)


def closest_picks(graph: Graph, pick_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pick that each row is closest to, whatever labeled samples cover: its place, -1 = none kept; its kernel."""
    slot_C = np.full(graph.num_candidates + 1, -1, np.int64)
    slot_C[pick_P] = np.arange(len(pick_P))
    owner_N, kernel_N = np.full(len(graph.index_NM), -1, np.int64), np.zeros(len(graph.index_NM), np.uint16)
    _closest_picks(graph.index_NM, graph.kernel_NM, slot_C, owner_N, kernel_N)
    own_P = graph.row_of_C[pick_P]  # of several equal rows, each pick stands for itself
    owner_N[own_P], kernel_N[own_P] = np.arange(len(own_P)), ONE
    return owner_N, kernel_N


@njit(cache=True, nogil=True)
def _closest_picks(index_NM, kernel_NM, slot_C, owner_N, kernel_N):
    for n in range(index_NM.shape[0]):
        for m in range(index_NM.shape[1]):
            slot = slot_C[index_NM[n, m]]  # -1, no candidate, finds the last entry
            if slot >= 0:
                owner_N[n], kernel_N[n] = slot, kernel_NM[n, m]
                break


@njit(cache=True, nogil=True)
def _count(index_NM, count_C):
    for n in range(index_NM.shape[0]):
        for m in range(index_NM.shape[1]):
            if index_NM[n, m] >= 0:
                count_C[index_NM[n, m]] += 1


@njit(cache=True, nogil=True)
def _fill_columns(index_NM, kernel_NM, next_C, row_E, kernel_E):
    for n in range(index_NM.shape[0]):
        for m in range(index_NM.shape[1]):
            c = index_NM[n, m]
            if c >= 0:
                row_E[next_C[c]] = n
                kernel_E[next_C[c]] = kernel_NM[n, m]
                next_C[c] += 1


@njit(cache=True, nogil=True)
def row_weight(weight_N, n):
    return weight_N[n] if weight_N.shape[0] > 0 else np.int64(1)


@njit(cache=True, nogil=True)
def _coverage_gain(c, start_C, row_E, kernel_E, covered_N, weight_N):
    total = np.int64(0)
    for e in range(start_C[c], start_C[c + 1]):
        n = row_E[e]
        if kernel_E[e] > covered_N[n]:
            total += (np.int64(kernel_E[e]) - np.int64(covered_N[n])) * row_weight(weight_N, n)
    return total


@njit(cache=True, nogil=True)
def _cover(c, index_NM, kernel_NM, start_C, row_E, kernel_E, covered_N, row_of_C, closeness_C):
    """What rows and candidates know of a pick."""
    for e in range(start_C[c], start_C[c + 1]):
        covered_N[row_E[e]] = max(covered_N[row_E[e]], kernel_E[e])
    row = row_of_C[c]
    for m in range(index_NM.shape[1]):
        other = index_NM[row, m]
        if other < 0:
            break
        closeness_C[other] = max(closeness_C[other], kernel_NM[row, m])


@njit(cache=True, nogil=True)
def _gains_in_order(
    index_NM, kernel_NM, start_C, row_E, kernel_E, covered_N, weight_N, row_of_C, bonus_C, unit, closeness_C,
    pick_P, gain_P, coverage_P,
):  # fmt: skip
    for place in range(pick_P.shape[0]):
        c = pick_P[place]
        coverage_P[place] = _coverage_gain(c, start_C, row_E, kernel_E, covered_N, weight_N)
        gain_P[place] = coverage_P[place] + bonus_C[c] - np.int64(closeness_C[c]) * unit // ONE
        _cover(c, index_NM, kernel_NM, start_C, row_E, kernel_E, covered_N, row_of_C, closeness_C)


@njit(cache=True, nogil=True)
def _has_room(c, code_CQ, room_G):
    for q in range(code_CQ.shape[1]):  # noqa: SIM110 (numba)
        if code_CQ[c, q] >= 0 and room_G[code_CQ[c, q]] <= 0:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_needed(c, code_CQ, need_G):
    for q in range(code_CQ.shape[1]):  # noqa: SIM110 (numba)
        if code_CQ[c, q] >= 0 and need_G[code_CQ[c, q]] > 0:
            return True
    return False


@njit(cache=True, nogil=True)
def _before(key_C, x, y):
    return key_C[x] > key_C[y] or (key_C[x] == key_C[y] and x < y)


@njit(cache=True, nogil=True)
def _sift_down(heap, size, key_C, start):
    parent, item = start, heap[start]
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and _before(key_C, heap[child + 1], heap[child]):
            child += 1
        if not _before(key_C, heap[child], item):
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = item


@njit(cache=True, nogil=True)
def _greedy(
    index_NM, kernel_NM, start_C, row_E, kernel_E, covered_N, weight_N, row_of_C, bonus_C, cost_C, is_forced_C,
    is_deferred_C, unit, duplicate_kernel, closeness_C, allowed_C, code_CQ, room_G, need_G, budget,
    pick_P, gain_P, coverage_P,
):  # fmt: skip
    num_candidates = start_C.shape[0] - 1
    is_picked_C = np.zeros(num_candidates, np.bool_)
    coverage_C, gain_C = np.zeros(num_candidates, np.int64), np.zeros(num_candidates, np.int64)
    key_C, known_C = np.zeros(num_candidates, np.float64), np.zeros(num_candidates, np.int64)
    heap = np.empty(num_candidates, np.int64)
    num_picks, left = 0, budget * (1 + 1e-12)
    for phase in range(5):
        for_need = phase in (NEEDED, NEEDED_DEFERRED)
        if for_need and need_G.sum() == 0:
            continue
        size = 0
        for c in range(num_candidates):
            if is_picked_C[c] or not allowed_C[c] or (phase == FORCED and not is_forced_C[c]):
                continue
            if for_need and not _is_needed(c, code_CQ, need_G):
                continue
            if phase in (NEEDED, FREE) and (is_deferred_C[c] or closeness_C[c] >= duplicate_kernel):
                continue
            coverage_C[c] = _coverage_gain(c, start_C, row_E, kernel_E, covered_N, weight_N)
            gain_C[c] = coverage_C[c] + bonus_C[c] - np.int64(closeness_C[c]) * unit // ONE
            key_C[c], known_C[c] = gain_C[c] / cost_C[c], num_picks
            heap[size] = c
            size += 1
        for start in range(size // 2 - 1, -1, -1):
            _sift_down(heap, size, key_C, start)
        while size > 0:
            c = heap[0]
            # Limits only tighten: what does not fit now never will.
            fits = cost_C[c] <= left and _has_room(c, code_CQ, room_G)
            if for_need and not _is_needed(c, code_CQ, need_G):
                fits = False
            if phase in (NEEDED, FREE) and closeness_C[c] >= duplicate_kernel:
                fits = False
            is_current = known_C[c] == num_picks
            if fits and not is_current:
                coverage_C[c] = _coverage_gain(c, start_C, row_E, kernel_E, covered_N, weight_N)
                gain_C[c] = coverage_C[c] + bonus_C[c] - np.int64(closeness_C[c]) * unit // ONE
                key_C[c], known_C[c] = gain_C[c] / cost_C[c], num_picks
                _sift_down(heap, size, key_C, 0)
                continue
            size -= 1
            heap[0] = heap[size]
            if size > 0:
                _sift_down(heap, size, key_C, 0)
            if not fits:
                continue
            pick_P[num_picks], gain_P[num_picks], coverage_P[num_picks] = c, gain_C[c], coverage_C[c]
            is_picked_C[c] = True
            num_picks += 1
            left -= cost_C[c]
            for q in range(code_CQ.shape[1]):
                if code_CQ[c, q] >= 0:
                    room_G[code_CQ[c, q]] -= 1
                    need_G[code_CQ[c, q]] = max(need_G[code_CQ[c, q]] - 1, 0)
            _cover(c, index_NM, kernel_NM, start_C, row_E, kernel_E, covered_N, row_of_C, closeness_C)
    return num_picks
