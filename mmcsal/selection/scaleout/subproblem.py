"""A subproblem: cells whose candidates are merged into one batch, by one greedy and a swap search over all their rows.

Up to two million rows are one subproblem. Larger pools are cut into several, and the number of picks of each follows
from the best candidates of all.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mmcsal.selection.objective.constraints import Limits
from mmcsal.selection.scaleout.neighbors import Neighbors, Shortlist, of_rows_and_parts, places_of
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.scaleout.prefix_order import first_over_sample, nested_order, order_after
from mmcsal.selection.solvers.dense_greedy import NOTHING
from mmcsal.selection.solvers.local_search import SwapResult, swap_search
from mmcsal.selection.solvers.neighbor_graph import (
    CandidateTerms,
    NeighborGraph,
    RankedPicks,
    closest_picks,
    gains_in_order,
    make_graph,
)
from mmcsal.selection.solvers.sparse_greedy import greedy

MAX_STARTS_SIZE = 2**10  # rows times candidates up to here are solved from every first pick


@dataclass(frozen=True)
class Allotment:
    """What a subproblem gets of the limits, and what it is asked for."""

    budget: float
    max_G: np.ndarray
    min_G: np.ndarray
    num_rows: int  # of all subproblems: the unit of gains
    fixed_hash: np.ndarray | None = None  # these are the picks, in this order; None = find them
    keep_order: bool = False  # ranks as in `fixed_hash`; else by a greedy pass
    with_rows: bool = True  # also say which pick stands for each row


@dataclass(frozen=True)
class RowAssignments:
    """Which pick stands for each row of a subproblem."""

    ids: pa.StringArray
    pick_NU: np.ndarray  # place in the shortlist, -1 = none
    kernel_NU: np.ndarray  # uint16
    score_N: np.ndarray


@dataclass(frozen=True)
class SubproblemSolution:
    """The batch of a subproblem in the order of its ranks; places are those of its shortlist."""

    pick_P: np.ndarray
    gain_P: np.ndarray  # int64; gain per cost never rises, but for what was forced or deferred
    coverage_P: np.ndarray
    mass_PU: np.ndarray  # int64, weights of the rows that each pick represents
    runner_up_P: np.ndarray  # -1 = none
    num_swaps: int
    swap_gain: int
    rows: RowAssignments

    def placed(self, place_C: np.ndarray) -> "SubproblemSolution":
        """The same with places in a shortlist of which the subproblem's is the part `place_C`."""
        place_C = np.append(place_C, -1)  # where -1, none, is looked up
        rows = replace(self.rows, pick_NU=place_C[self.rows.pick_NU])
        return replace(self, pick_P=place_C[self.pick_P], runner_up_P=place_C[self.runner_up_P], rows=rows)


def solve_subproblem(
    parts: list[Neighbors], shortlist: Shortlist, plan: Plan, allotment: Allotment
) -> SubproblemSolution:
    """Finds, improves and ranks the batch of the rows of `parts`."""
    neighbors = Neighbors.concat(parts)
    graph = _graph(neighbors, shortlist, plan)
    terms, limits = _terms(shortlist, plan, allotment), _limits(shortlist, plan, allotment)
    if allotment.fixed_hash is None:
        taken = _best_greedy(graph, terms, limits)
        passes = _num_passes(terms, plan)
    else:
        taken, passes = _fixed(allotment.fixed_hash, shortlist.hash_C), 0
    order_C = np.argsort(shortlist.hash_C)
    swapped = swap_search(graph, terms, limits, taken.pick_P, order_C, passes)
    if passes and len(neighbors.ids) * graph.num_candidates <= MAX_STARTS_SIZE:
        swapped = _best_of_starts(graph, terms, limits, order_C, passes, taken, swapped)
    owner_NU, kernel_NU = _represented(graph, swapped.pick_P, neighbors)
    mass_PU = _masses(neighbors, owner_NU, kernel_NU, len(swapped.pick_P))
    ranked = _ranked(graph, terms, swapped.pick_P, shortlist, plan, allotment)
    slot_of_C = np.full(graph.num_candidates, -1, np.int64)
    slot_of_C[swapped.pick_P] = np.arange(len(swapped.pick_P))
    slot_P = slot_of_C[ranked.pick_P]
    runner_up_P = swapped.runner_up_P[slot_P]
    return SubproblemSolution(
        ranked.pick_P,
        ranked.gain_P,
        ranked.coverage_P,
        mass_PU[slot_P],
        runner_up_P,
        swapped.num_swaps,
        swapped.gain,
        _row_assignments(neighbors, owner_NU, kernel_NU, swapped.pick_P, allotment.with_rows),
    )


def _graph(neighbors: Neighbors, shortlist: Shortlist, plan: Plan) -> NeighborGraph:
    """The graph of a subproblem: its rows, each once for every part of the coverage, and its candidates."""
    part_weight_U = plan.objective.coverage.weight_U
    counts_once = plan.objective.weight_unit == 1 and part_weight_U.tolist() == [1]
    return make_graph(
        of_rows_and_parts(neighbors.index_NUJ),
        of_rows_and_parts(neighbors.kernel_NUJ),
        len(shortlist.hash_C),
        cover_N=neighbors.cover_NU.reshape(-1),
        weight_N=NOTHING if counts_once else np.outer(neighbors.weight_N.astype(np.int64), part_weight_U).reshape(-1),
        row_of_C=places_of(shortlist.ids, neighbors.ids) * len(part_weight_U),
    )


def _terms(shortlist: Shortlist, plan: Plan, allotment: Allotment) -> CandidateTerms:
    hash_C, score_C = shortlist.hash_C, shortlist.score_C
    return CandidateTerms(
        bonus_C=plan.objective.bonus(score_C, allotment.num_rows),
        cost_C=plan.attributes.costs(hash_C),
        is_forced_C=np.isin(hash_C, plan.roles.forced_hash),
        is_deferred_C=plan.objective.is_gated(score_C),
        redundancy_unit=plan.objective.redundancy_unit(allotment.num_rows),
        duplicate_kernel=plan.objective.duplicate_kernel,
    )


def _limits(shortlist: Shortlist, plan: Plan, allotment: Allotment) -> Limits:
    return Limits(allotment.budget, plan.attributes.codes(shortlist.hash_C), allotment.min_G, allotment.max_G)


def _best_greedy(graph: NeighborGraph, terms: CandidateTerms, limits: Limits) -> RankedPicks:
    """By gain per cost; where costs differ also by gain alone, which is better where one dear sample is worth it."""
    taken = greedy(graph, terms, limits)
    if len(np.unique(terms.cost_C)) < 2:
        return taken
    # Ranks of keys only: what is paid stays as it is, so the limit is kept by hand below.
    by_gain = _affordable(
        greedy(graph, terms._replace(cost_C=np.ones(len(terms.cost_C))), _unpriced(limits)), terms, limits
    )
    return by_gain if by_gain.gain_P.sum() > taken.gain_P.sum() else taken


def _best_of_starts(
    graph: NeighborGraph,
    terms: CandidateTerms,
    limits: Limits,
    order_C,
    passes: int,
    taken: RankedPicks,
    swapped: SwapResult,
) -> SwapResult:
    """Of tiny pools, where a local optimum may lose 4%: the best over all first picks, which stay exchangeable."""
    if terms.is_forced_C.any() or limits.code_CQ.shape[1] or len(np.unique(terms.cost_C)) > 1:
        return swapped
    greedy_value = int(taken.gain_P.sum())
    for c in np.flatnonzero(~terms.is_deferred_C & (graph.cover_N[graph.row_of_C] < terms.duplicate_kernel)):
        start = greedy(graph, terms._replace(is_forced_C=np.arange(graph.num_candidates) == c), limits)
        other = swap_search(graph, terms, limits, start.pick_P, order_C, passes)
        gain = int(start.gain_P.sum()) + other.gain - greedy_value
        if gain > swapped.gain:
            swapped = replace(other, gain=gain)
    return swapped


def _unpriced(limits: Limits) -> Limits:
    return replace(limits, budget=np.inf)


def _affordable(taken: RankedPicks, terms: CandidateTerms, limits: Limits) -> RankedPicks:
    """The prefix that the budget pays for: gains of later picks rest on it alone."""
    num_paid = int(np.searchsorted(np.cumsum(terms.cost_C[taken.pick_P]), limits.budget * (1 + 1e-12), side="right"))
    return taken.first(num_paid)


def _fixed(fixed_hash: np.ndarray, hash_C: np.ndarray) -> RankedPicks:
    by_hash = np.argsort(hash_C)
    inside = fixed_hash[np.isin(fixed_hash, hash_C)]
    pick_P = by_hash[np.searchsorted(hash_C[by_hash], inside)]
    return RankedPicks(pick_P, np.zeros(len(pick_P), np.int64), np.zeros(len(pick_P), np.int64))


def _ranked(
    graph: NeighborGraph, terms: CandidateTerms, pick_P, shortlist: Shortlist, plan: Plan, allotment: Allotment
) -> RankedPicks:
    """The picks by rank. Where rows do not keep all candidates, they cannot say what the first ones cover."""
    if allotment.keep_order:
        return gains_in_order(graph, terms, pick_P)
    passes = _num_passes(terms, plan)
    if graph.index_NJ.shape[1] == graph.num_candidates:
        order_C = np.argsort(shortlist.hash_C)
        return gains_in_order(graph, terms, nested_order(graph, terms, pick_P, order_C, passes))
    sorted_P, num_sampled = np.sort(pick_P), len(plan.ranking_sample.cover_RU)
    terms_P = CandidateTerms(
        bonus_C=plan.objective.bonus(shortlist.score_C[sorted_P], num_sampled),
        cost_C=terms.cost_C[sorted_P],
        is_forced_C=terms.is_forced_C[sorted_P],
        is_deferred_C=terms.is_deferred_C[sorted_P],
        redundancy_unit=plan.objective.redundancy_unit(num_sampled),
        duplicate_kernel=terms.duplicate_kernel,
    )
    cover_PU = graph.cover_N[graph.row_of_C[sorted_P][:, None] + np.arange(len(plan.objective.coverage.parts))]
    first_P = sorted_P[first_over_sample(shortlist, sorted_P, cover_PU, terms_P, plan, passes)]
    return gains_in_order(graph, terms, np.concatenate([first_P, order_after(graph, terms, pick_P, first_P)]))


def _num_passes(terms: CandidateTerms, plan: Plan) -> int:
    """Of the swap search, which knows coverage and alignment only."""
    strategy = plan.spec.strategy
    return strategy.max_swap_passes if strategy.kind == "mmcsal" and not terms.redundancy_unit else 0


def _represented(graph: NeighborGraph, pick_P: np.ndarray, neighbors: Neighbors) -> tuple[np.ndarray, np.ndarray]:
    """The pick that each row is closest to by each part, int64 [N, U], -1 = none kept, and the kernel to it."""
    num_parts = neighbors.cover_NU.shape[1]
    owner_N, kernel_N = closest_picks(graph, pick_P, num_parts)
    return owner_N.reshape(-1, num_parts), kernel_N.reshape(-1, num_parts)


def _masses(neighbors: Neighbors, owner_NU: np.ndarray, kernel_NU: np.ndarray, num_picks: int) -> np.ndarray:
    """Weights of the rows that each slot represents by each part; what a labeled sample is closer to is nobody's."""
    is_mine_NU = (owner_NU >= 0) & ~neighbors.is_labeled_N[:, None] & (kernel_NU >= neighbors.cover_NU)
    row_E, part_E = np.nonzero(is_mine_NU)
    mass_PU = np.zeros((num_picks, owner_NU.shape[1]), np.int64)
    np.add.at(mass_PU, (owner_NU[row_E, part_E], part_E), neighbors.weight_N[row_E])
    return mass_PU


def _row_assignments(neighbors: Neighbors, owner_NU, kernel_NU, place_P: np.ndarray, with_rows: bool) -> RowAssignments:
    kept = slice(None) if with_rows else slice(0)
    pick_NU = np.append(place_P, -1)[owner_NU[kept]]
    return RowAssignments(
        neighbors.ids[kept] if with_rows else neighbors.ids[:0], pick_NU, kernel_NU[kept], neighbors.score_N[kept]
    )
