"""The neighbor graph: of each row the candidates that it is closest to, the closest first; in integers.

A row keeps a few candidates only, so the graph of a million rows fits into memory. What a row does not keep counts as
the coverage that it has anyway: gains are never overstated.

Structures here are named tuples of arrays, which compiled functions take whole. They take the arrays out before their
loops: inside, each look into a tuple would count references.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from mmcsal.selection.numerics.kernel import ONE


class NeighborGraph(NamedTuple):
    """Rows by candidates, both sorted by sample_id."""

    index_NJ: np.ndarray  # int32, the candidates that a row keeps, the closest first; -1 = none
    kernel_NJ: np.ndarray  # uint16, the kernel to each
    start_C: np.ndarray  # int64 [C + 1]: where a candidate's rows begin in the two arrays below
    row_E: np.ndarray  # int32
    kernel_E: np.ndarray  # uint16
    cover_N: np.ndarray  # uint16, the kernel to the nearest labeled sample
    weight_N: np.ndarray  # int64; empty = every row counts once
    row_of_C: np.ndarray  # int64, the candidate's own row, which tells its duplicates

    @property
    def num_candidates(self) -> int:
        return len(self.start_C) - 1


class CandidateTerms(NamedTuple):
    """What candidates bring and cost beside the coverage."""

    bonus_C: np.ndarray  # int64
    cost_C: np.ndarray  # float64
    is_forced_C: np.ndarray  # bool: in the batch whatever they are worth
    is_deferred_C: np.ndarray  # bool: only when nothing else is left
    redundancy_unit: int  # what a pick loses at a kernel of 1 to an earlier pick
    duplicate_kernel: int  # from this kernel to an earlier pick or a labeled sample, deferred


class RankedPicks(NamedTuple):
    """Picks in the order in which they were taken, and what each added to those before it."""

    pick_P: np.ndarray  # int64, candidates
    gain_P: np.ndarray  # int64, of the whole objective
    coverage_P: np.ndarray  # int64, the coverage term of the gain

    def first(self, num_picks: int) -> "RankedPicks":
        return RankedPicks(self.pick_P[:num_picks], self.gain_P[:num_picks], self.coverage_P[:num_picks])


class Covered(NamedTuple):
    """What rows and candidates know of the picks so far; changed in place."""

    kernel_N: np.ndarray  # uint16, of each row to the closest pick or labeled sample
    closeness_C: np.ndarray  # uint16, of each candidate to the closest pick or labeled sample


def make_graph(
    index_NJ: np.ndarray,
    kernel_NJ: np.ndarray,
    num_candidates: int,
    *,
    cover_N: np.ndarray,
    weight_N: np.ndarray,
    row_of_C: np.ndarray,
) -> NeighborGraph:
    """The graph with its columns: of each candidate the rows that keep it."""
    start_C = np.zeros(num_candidates + 1, np.int64)
    _count(index_NJ, start_C[1:])
    np.cumsum(start_C, out=start_C)
    row_E, kernel_E = np.empty(start_C[-1], np.int32), np.empty(start_C[-1], np.uint16)
    _fill_columns(index_NJ, kernel_NJ, start_C[:-1].copy(), row_E, kernel_E)
    return NeighborGraph(index_NJ, kernel_NJ, start_C, row_E, kernel_E, cover_N, weight_N, row_of_C)


def uncovered(graph: NeighborGraph) -> Covered:
    """What is known before the first pick: the labeled samples alone."""
    return Covered(graph.cover_N.copy(), graph.cover_N[graph.row_of_C].copy())


def gains_in_order(graph: NeighborGraph, terms: CandidateTerms, pick_P: np.ndarray) -> RankedPicks:
    """What each of these picks adds to the objective after those before it."""
    picks = RankedPicks(pick_P, *np.empty((2, len(pick_P)), np.int64))
    _gains_in_order(graph, terms, uncovered(graph), picks)
    return picks


def closest_picks(graph: NeighborGraph, pick_P: np.ndarray, num_parts: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The pick that each row is closest to, whatever labeled samples cover: its place, -1 = none kept; its kernel."""
    slot_C = np.full(graph.num_candidates + 1, -1, np.int64)
    slot_C[pick_P] = np.arange(len(pick_P))
    owner_N, kernel_N = np.full(len(graph.index_NJ), -1, np.int64), np.zeros(len(graph.index_NJ), np.uint16)
    _closest_picks(graph.index_NJ, graph.kernel_NJ, slot_C, owner_N, kernel_N)
    for u in range(num_parts):
        own_P = graph.row_of_C[pick_P] + u  # of several equal rows, each pick stands for itself
        owner_N[own_P], kernel_N[own_P] = np.arange(len(own_P)), ONE
    return owner_N, kernel_N


@njit(cache=True, nogil=True)
def row_weight(weight_N, n):
    return weight_N[n] if weight_N.shape[0] > 0 else np.int64(1)


@njit(cache=True, nogil=True)
def coverage_gain(c, start_C, row_E, kernel_E, weight_N, kernel_N):
    """What a candidate adds to the coverage of rows that are covered by `kernel_N`; arrays of the graph."""
    total = np.int64(0)
    for e in range(start_C[c], start_C[c + 1]):
        n = row_E[e]
        if kernel_E[e] > kernel_N[n]:
            total += (np.int64(kernel_E[e]) - np.int64(kernel_N[n])) * row_weight(weight_N, n)
    return total


@njit(cache=True, nogil=True)
def redundancy_loss(closeness, redundancy_unit):
    """What a pick of this closeness to earlier ones loses by the redundancy term."""
    return np.int64(closeness) * redundancy_unit // ONE


@njit(cache=True, nogil=True)
def cover(c, graph, covered):
    """Notes a pick in what rows and candidates know of the picks."""
    start_C, row_E, kernel_E, kernel_N = graph.start_C, graph.row_E, graph.kernel_E, covered.kernel_N
    for e in range(start_C[c], start_C[c + 1]):
        kernel_N[row_E[e]] = max(kernel_N[row_E[e]], kernel_E[e])
    index_NJ, kernel_NJ, closeness_C, row = graph.index_NJ, graph.kernel_NJ, covered.closeness_C, graph.row_of_C[c]
    for j in range(index_NJ.shape[1]):
        other = index_NJ[row, j]
        if other < 0:
            break
        closeness_C[other] = max(closeness_C[other], kernel_NJ[row, j])


@njit(cache=True, nogil=True)
def _gains_in_order(graph, terms, covered, picks):
    start_C, row_E, kernel_E, weight_N = graph.start_C, graph.row_E, graph.kernel_E, graph.weight_N
    for place in range(picks.pick_P.shape[0]):
        c = picks.pick_P[place]
        picks.coverage_P[place] = coverage_gain(c, start_C, row_E, kernel_E, weight_N, covered.kernel_N)
        loss = redundancy_loss(covered.closeness_C[c], terms.redundancy_unit)
        picks.gain_P[place] = picks.coverage_P[place] + terms.bonus_C[c] - loss
        cover(c, graph, covered)


@njit(cache=True, nogil=True)
def _closest_picks(index_NJ, kernel_NJ, slot_C, owner_N, kernel_N):
    for n in range(index_NJ.shape[0]):
        for j in range(index_NJ.shape[1]):
            slot = slot_C[index_NJ[n, j]]  # -1, no candidate, finds the last entry
            if slot >= 0:
                owner_N[n], kernel_N[n] = slot, kernel_NJ[n, j]
                break


@njit(cache=True, nogil=True)
def _count(index_NJ, count_C):
    for n in range(index_NJ.shape[0]):
        for j in range(index_NJ.shape[1]):
            if index_NJ[n, j] >= 0:
                count_C[index_NJ[n, j]] += 1


@njit(cache=True, nogil=True)
def _fill_columns(index_NJ, kernel_NJ, next_C, row_E, kernel_E):
    for n in range(index_NJ.shape[0]):
        for j in range(index_NJ.shape[1]):
            c = index_NJ[n, j]
            if c >= 0:
                row_E[next_C[c]] = n
                kernel_E[next_C[c]] = kernel_NJ[n, j]
                next_C[c] += 1
