"""Small graphs with everything that a solver must mind, and the objective of a set of picks from its definition."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from mmcsal.selection.numerics.kernel import ONE, make_kernel, square_kernel_block
from mmcsal.selection.numerics.quantize import UNIT, quantize
from mmcsal.selection.objective.constraints import UNLIMITED, Limits
from mmcsal.selection.solvers.neighbor_graph import CandidateTerms, NeighborGraph, make_graph
from mmcsal.selection.solvers.sparse_greedy import greedy

DUPLICATE = round(0.98 * ONE)


@dataclass(frozen=True)
class Case:
    """Rows and candidates, with the whole kernel beside the graph."""

    graph: NeighborGraph
    terms: CandidateTerms
    limits: Limits
    kernel_NC: np.ndarray
    weight_N: list[int]


@dataclass(frozen=True)
class Kind:
    """What a case has beside coverage and alignment."""

    has_weights: bool = False
    has_costs: bool = False
    has_quotas: bool = False
    has_forced: bool = False
    has_gate: bool = False
    unit: int = 0


KINDS = st.builds(
    Kind, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, ONE, 9 * ONE])
)
SEEDS = st.integers(0, 10**6)


def graph_of(kernel_NC, row_of_C, cover_N, weight_N, num_neighbors):
    """The graph in which each row keeps the `num_neighbors` candidates that it is closest to."""
    index_NJ = np.argsort(-kernel_NC.astype(np.int64), axis=1, kind="stable")[:, :num_neighbors].astype(np.int32)
    kernel_NJ = np.take_along_axis(kernel_NC, index_NJ, axis=1)
    return make_graph(
        index_NJ, kernel_NJ, kernel_NC.shape[1], cover_N=cover_N, weight_N=weight_N, row_of_C=row_of_C
    )  # fmt: skip


def make_case(seed, kind=Kind(), *, num_rows=24, num_candidates=13, budget=5, num_neighbors=None):
    """A few clusters with exact duplicates, some rows covered by labeled samples."""
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(4, 5))[rng.integers(0, 4, num_rows)] + 0.5 * rng.normal(size=(num_rows, 5))
    copies = rng.choice(num_rows, num_rows // 4, replace=False)
    x_ND[copies] = x_ND[rng.integers(0, num_rows, len(copies))]
    kernel_NN = square_kernel_block(quantize(x_ND), make_kernel(int(0.15 * UNIT**2)))
    labeled = rng.choice(num_rows, 2, replace=False)
    cover_N = kernel_NN[:, labeled].max(axis=1) if rng.random() < 0.5 else np.zeros(num_rows, np.uint16)
    row_of_C = np.sort(rng.choice(num_rows, num_candidates, replace=False))
    weight_N = rng.integers(0, 4, num_rows) if kind.has_weights else np.zeros(0, np.int64)
    code_CQ, min_G, max_G = np.zeros((num_candidates, 0), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    if kind.has_quotas:  # two values of one column, one of another; -1 = neither
        code_CQ = np.stack([rng.integers(-1, 2, num_candidates), 3 * rng.integers(0, 2, num_candidates) - 1], axis=1)
        code_CQ = code_CQ.astype(np.int32)
        min_G, max_G = np.array([1, 0, 1]), np.array([2, 1, UNLIMITED])
    cost_C = rng.choice([0.5, 1.0, 1.75], num_candidates) if kind.has_costs else np.ones(num_candidates)
    terms = CandidateTerms(
        bonus_C=rng.integers(0, 4, num_candidates) * 15000,  # ties
        cost_C=cost_C,
        is_forced_C=(rng.random(num_candidates) < 0.1) & kind.has_forced,
        is_deferred_C=(rng.random(num_candidates) < 0.4) & kind.has_gate,
        redundancy_unit=kind.unit,
        duplicate_kernel=DUPLICATE,
    )
    kernel_NC = kernel_NN[:, row_of_C]
    graph = graph_of(kernel_NC, row_of_C, cover_N, weight_N, num_neighbors or num_candidates)
    weights = weight_N.tolist() if kind.has_weights else [1] * num_rows
    return Case(graph, terms, Limits(float(budget), code_CQ, min_G, max_G), kernel_NC, weights)


def value(case, picks):
    """Coverage plus alignment of a set of picks, from the definition."""
    covered_N = np.maximum(case.graph.cover_N, case.kernel_NC[:, list(picks)].max(axis=1, initial=0))
    return int(covered_N.astype(np.int64) @ np.array(case.weight_N)) + int(case.terms.bonus_C[list(picks)].sum())


def closeness(case, c, picks):
    """The largest kernel of a candidate to a labeled sample or to one of the picks."""
    row = case.graph.row_of_C[c]
    return max([int(case.graph.cover_N[row]), *(int(case.kernel_NC[row, p]) for p in picks)])


def start_of(case, seed):
    """Random picks within the limits, so that there is much to swap; forced ones among them."""
    random = np.random.default_rng(seed).integers(0, 10**6, case.graph.num_candidates)
    flat = case.graph._replace(kernel_E=np.zeros_like(case.graph.kernel_E))
    return greedy(flat, case.terms._replace(bonus_C=random, redundancy_unit=0), case.limits).pick_P
