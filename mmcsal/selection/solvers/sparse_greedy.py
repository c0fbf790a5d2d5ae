"""Lazy greedy on a neighbor graph within limits, in integers.

Gains are int64 sums of kernel differences, keys are gain / cost: a division that rounds the same on every machine. So
the same candidates are picked everywhere, ties by place, which is the order of sample_ids.
"""

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit

from mmcsal.selection.objective.constraints import Limits
from mmcsal.selection.solvers.neighbor_graph import (
    CandidateTerms,
    NeighborGraph,
    RankedPicks,
    cover,
    coverage_gain,
    redundancy_loss,
    uncovered,
)

FORCED, NEEDED, NEEDED_DEFERRED, FREE, DEFERRED = range(5)  # phases of the greedy


class _Remaining(NamedTuple):
    """What the picks so far leave of the limits, and of the candidates; changed in place."""

    budget_1: np.ndarray  # float64 [1]
    room_G: np.ndarray  # int64, picks that each quota still allows
    need_G: np.ndarray  # int64, picks that each quota still lacks
    is_open_C: np.ndarray  # bool, neither picked nor left out from the start


def greedy(
    graph: NeighborGraph, terms: CandidateTerms, limits: Limits, allowed_C: np.ndarray | None = None
) -> RankedPicks:
    """Lazy greedy by gain per cost within the limits; `allowed_C` restricts it to some candidates.

    Forced candidates come first, then what the least numbers of the quotas need, then all others, and last those that
    are deferred (duplicates of picks; misaligned under a gate), unless a least number needs them.
    """
    num_candidates = graph.num_candidates
    picks = RankedPicks(*np.empty((3, num_candidates), np.int64))
    remaining = _Remaining(
        budget_1=np.array([limits.budget * (1 + 1e-12)]),
        room_G=limits.max_G.copy(),
        need_G=limits.min_G.copy(),
        is_open_C=np.ones(num_candidates, bool) if allowed_C is None else allowed_C.copy(),
    )
    num_picks = _greedy(graph, terms, limits.code_CQ, uncovered(graph), remaining, picks)
    return picks.first(num_picks)


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
def _takes_part(c, phase, terms, code_CQ, covered, remaining):
    """Whether a candidate competes in a phase, as far as the picks so far tell."""
    if not remaining.is_open_C[c] or (phase == FORCED and not terms.is_forced_C[c]):
        return False
    if phase in (NEEDED, NEEDED_DEFERRED) and not _is_needed(c, code_CQ, remaining.need_G):
        return False
    is_deferred = terms.is_deferred_C[c] or covered.closeness_C[c] >= terms.duplicate_kernel
    return not (phase in (NEEDED, FREE) and is_deferred)


@njit(cache=True, nogil=True)
def _take(c, graph, terms, code_CQ, covered, remaining):
    remaining.is_open_C[c] = False
    remaining.budget_1[0] -= terms.cost_C[c]
    for q in range(code_CQ.shape[1]):
        if code_CQ[c, q] >= 0:
            remaining.room_G[code_CQ[c, q]] -= 1
            remaining.need_G[code_CQ[c, q]] = max(remaining.need_G[code_CQ[c, q]] - 1, 0)
    cover(c, graph, covered)


@njit(cache=True, nogil=True)
def _greedy(graph, terms, code_CQ, covered, remaining, picks):
    start_C, row_E, kernel_E, weight_N = graph.start_C, graph.row_E, graph.kernel_E, graph.weight_N
    bonus_C, cost_C, kernel_N, closeness_C = terms.bonus_C, terms.cost_C, covered.kernel_N, covered.closeness_C
    gain_C, coverage_C = np.zeros(cost_C.shape[0], np.int64), np.zeros(cost_C.shape[0], np.int64)
    num_picks = 0
    for phase in range(5):
        if phase in (NEEDED, NEEDED_DEFERRED) and remaining.need_G.sum() == 0:
            continue
        known_C = np.full(cost_C.shape[0], -1, np.int64)  # number of picks that a gain knows of
        heap = [
            (-np.inf, c) for c in range(cost_C.shape[0]) if _takes_part(c, phase, terms, code_CQ, covered, remaining)
        ]
        while len(heap) > 0:
            c = heap[0][1]  # the best is the smallest; of what is not known yet, all may be the best
            # Limits only tighten: what does not fit now never will.
            fits = cost_C[c] <= remaining.budget_1[0] and _has_room(c, code_CQ, remaining.room_G)
            fits = fits and _takes_part(c, phase, terms, code_CQ, covered, remaining)
            if fits and known_C[c] != num_picks:
                coverage_C[c] = coverage_gain(c, start_C, row_E, kernel_E, weight_N, kernel_N)
                loss = redundancy_loss(closeness_C[c], terms.redundancy_unit)
                gain_C[c], known_C[c] = coverage_C[c] + bonus_C[c] - loss, num_picks
                heapq.heapreplace(heap, (-(gain_C[c] / cost_C[c]), c))
                continue
            heapq.heappop(heap)
            if fits:
                picks.pick_P[num_picks], picks.gain_P[num_picks] = c, gain_C[c]
                picks.coverage_P[num_picks] = coverage_C[c]
                num_picks += 1
                _take(c, graph, terms, code_CQ, covered, remaining)
    return num_picks
