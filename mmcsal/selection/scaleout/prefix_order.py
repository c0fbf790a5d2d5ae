"""Ranks: an order of the picks whose every prefix is a good batch.

The first quarter of the picks is solved as a batch of its own, by greedy and swaps among the picks; so is the first
quarter of that, and so on. Those behind follow by greedy.
"""

from dataclasses import replace

import numpy as np

from mmcsal.selection.objective.constraints import Limits
from mmcsal.selection.scaleout.cell_tree import assign
from mmcsal.selection.scaleout.neighbors import Shortlist, closest_in_cells, of_rows_and_parts
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.scaleout.ranking_sample import num_first
from mmcsal.selection.solvers.dense_greedy import NOTHING
from mmcsal.selection.solvers.local_search import swap_search
from mmcsal.selection.solvers.neighbor_graph import CandidateTerms, NeighborGraph, make_graph
from mmcsal.selection.solvers.sparse_greedy import greedy

MIN_NESTED = 16  # so few picks are ordered by greedy alone
NUM_NEIGHBORS = 32  # picks that a row of the sample keeps, where a quarter of them is to be found
NUM_COMPARED = 512


def nested_order(
    graph: NeighborGraph, terms: CandidateTerms, pick_P: np.ndarray, order_C: np.ndarray, max_passes: int
) -> np.ndarray:
    """The picks by rank, int64 [P].

    Args:
        order_C: as in `swap_search`.
        max_passes: as in `swap_search`.
    """
    if len(pick_P) <= MIN_NESTED:
        return order_after(graph, terms, pick_P, pick_P[:0])
    first_P = nested_order(graph, terms, best_quarter(graph, terms, pick_P, order_C, max_passes), order_C, max_passes)
    return np.concatenate([first_P, order_after(graph, terms, pick_P, first_P)])


def order_after(graph: NeighborGraph, terms: CandidateTerms, pick_P: np.ndarray, first_P: np.ndarray) -> np.ndarray:
    """The picks that are not among the first, by a greedy that already has these."""
    taken = greedy(graph, terms._replace(is_forced_C=_mask(graph, first_P)), _free(graph), _mask(graph, pick_P))
    return taken.pick_P[len(first_P) :]


def best_quarter(
    graph: NeighborGraph, terms: CandidateTerms, pick_P: np.ndarray, order_C: np.ndarray, max_passes: int
) -> np.ndarray:
    """The quarter of the picks that is worth most without the others."""
    among_C = _mask(graph, pick_P)
    nobody_forced = terms._replace(is_forced_C=np.zeros(graph.num_candidates, bool))
    size, cost_P = num_first(len(pick_P)), terms.cost_C[pick_P]
    if (cost_P != cost_P[0]).any():  # then a quarter is no batch of a known budget
        return greedy(graph, nobody_forced, _free(graph), among_C).pick_P[:size]
    limits = replace(_free(graph), budget=size * cost_P[0])
    quarter_P = greedy(graph, nobody_forced, limits, among_C).pick_P
    return swap_search(graph, nobody_forced, limits, quarter_P, order_C[among_C[order_C]], max_passes).pick_P


def first_over_sample(
    shortlist: Shortlist, place_P: np.ndarray, cover_PU: np.ndarray, terms: CandidateTerms, plan: Plan, max_passes: int
) -> np.ndarray:
    """The first quarter of the picks by rank, judged by the ranking sample of the plan: which of `place_P`, int64.

    Args:
        place_P: the picks in the shortlist, rising.
        cover_PU: uint16, kernel of each to the nearest labeled sample.
        terms: of the picks, in the unit of gains over that sample.
    """
    sample, picks, num_picks = plan.ranking_sample, shortlist.take(place_P), len(place_P)
    coverage, num_sampled = plan.objective.coverage, len(sample.joint_RD)
    # The picks are rows too, which count nothing: so they know which of them lie close to each other.
    joint_RD = np.concatenate([sample.joint_RD, picks.joint_CD])
    leaf_R, _ = assign(plan.cells.tree, joint_RD, coverage)
    own_R = np.concatenate([np.full(num_sampled, -1), np.arange(num_picks)])
    index_RUJ, kernel_RUJ = closest_in_cells(joint_RD, leaf_R, own_R, picks, plan, NUM_NEIGHBORS, NUM_COMPARED)
    weight_R = sample.weight_R if len(sample.weight_R) else np.ones(num_sampled, np.int64)
    weight_R = np.concatenate([weight_R, np.zeros(num_picks, np.int64)])
    graph = make_graph(
        of_rows_and_parts(index_RUJ),
        of_rows_and_parts(kernel_RUJ),
        num_picks,
        cover_N=np.concatenate([sample.cover_RU, cover_PU]).reshape(-1),
        weight_N=np.outer(weight_R, coverage.weight_U).reshape(-1),
        row_of_C=np.arange(num_sampled, len(joint_RD)) * len(coverage.parts),
    )
    order_P = np.argsort(picks.hash_C)
    quarter_P = best_quarter(graph, terms, np.arange(num_picks), order_P, max_passes)
    return nested_order(graph, terms, quarter_P, order_P, max_passes)


def _mask(graph: NeighborGraph, pick_P: np.ndarray) -> np.ndarray:
    mask_C = np.zeros(graph.num_candidates, bool)
    mask_C[pick_P] = True
    return mask_C


def _free(graph: NeighborGraph) -> Limits:
    """No limits: a prefix need not keep those of the batch."""
    return Limits(np.inf, np.zeros((graph.num_candidates, 0), np.int32), NOTHING, NOTHING)
