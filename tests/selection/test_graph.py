"""Greedy and swap search on the graph, against plain Python from the definitions."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.graph import Graph, Worth, closest_picks, greedy, make_graph
from mmcsal.selection.kernel import ONE, make_kernel, square_kernel_block
from mmcsal.selection.limits import UNLIMITED, Limits
from mmcsal.selection.quantize import UNIT, quantize
from mmcsal.selection.swap import swap_search

DUPLICATE = round(0.98 * ONE)


@dataclass(frozen=True)
class Case:
    """Rows and candidates, with the whole kernel beside the graph."""

    graph: Graph
    worth: Worth
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


def graph_of(kernel_NC, row_of_C, cover_N, weight_N, num_links):
    """The graph in which each row keeps the `num_links` candidates that it is closest to."""
    index_NM = np.argsort(-kernel_NC.astype(np.int64), axis=1, kind="stable")[:, :num_links].astype(np.int32)
    kernel_NM = np.take_along_axis(kernel_NC, index_NM, axis=1)
    return make_graph(
        index_NM, kernel_NM, kernel_NC.shape[1], cover_N=cover_N, weight_N=weight_N, row_of_C=row_of_C
    )  # fmt: skip


def make_case(seed, kind=Kind(), *, num_rows=24, num_candidates=13, budget=5, num_links=None):
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
    worth = Worth(
        bonus_C=rng.integers(0, 4, num_candidates) * 15000,  # ties
        cost_C=cost_C,
        is_forced_C=(rng.random(num_candidates) < 0.1) & kind.has_forced,
        is_deferred_C=(rng.random(num_candidates) < 0.4) & kind.has_gate,
        redundancy_unit=kind.unit,
        duplicate_kernel=DUPLICATE,
    )
    kernel_NC = kernel_NN[:, row_of_C]
    graph = graph_of(kernel_NC, row_of_C, cover_N, weight_N, num_links or num_candidates)
    weights = weight_N.tolist() if kind.has_weights else [1] * num_rows
    return Case(graph, worth, Limits(float(budget), code_CQ, min_G, max_G), kernel_NC, weights)


def value(case, picks):
    """Coverage plus alignment of a set of picks, from the definition."""
    covered_N = np.maximum(case.graph.cover_N, case.kernel_NC[:, list(picks)].max(axis=1, initial=0))
    return int(covered_N.astype(np.int64) @ np.array(case.weight_N)) + int(case.worth.bonus_C[list(picks)].sum())


def closeness(case, c, picks):
    """The largest kernel of a candidate to a labeled sample or to one of the picks."""
    row = case.graph.row_of_C[c]
    return max([int(case.graph.cover_N[row]), *(int(case.kernel_NC[row, p]) for p in picks)])


def counts(case, picks):
    codes = case.limits.code_CQ[list(picks)].reshape(-1)
    return np.bincount(codes[codes >= 0], minlength=len(case.limits.max_G))


def plain_greedy(case):
    """Every gain of every step from the definition; the first of equals."""
    worth, limits, picks, gains = case.worth, case.limits, [], []

    def gain(c):
        loss = closeness(case, c, picks) * worth.redundancy_unit // ONE
        return value(case, [*picks, c]) - value(case, picks) - loss

    while True:
        left = limits.budget * (1 + 1e-12) - sum(worth.cost_C[p] for p in picks)
        need_G, room_G = limits.min_G - counts(case, picks), limits.max_G - counts(case, picks)
        codes = {c: [g for g in limits.code_CQ[c] if g >= 0] for c in range(case.graph.num_candidates)}
        fits = [c for c in codes if c not in picks and worth.cost_C[c] <= left and all(room_G[g] > 0 for g in codes[c])]
        plain = [c for c in fits if not worth.is_deferred_C[c] and closeness(case, c, picks) < worth.duplicate_kernel]
        forced = [c for c in fits if worth.is_forced_C[c]]
        needed = [[c for c in some if any(need_G[g] > 0 for g in codes[c])] for some in (plain, fits)]
        first = next((some for some in (forced, *needed, plain, fits) if some), None)
        if first is None:
            return picks, gains
        best = max(first, key=lambda c: (gain(c) / worth.cost_C[c], -c))
        gains.append(gain(best))
        picks.append(best)


@settings(max_examples=150, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 14))
def test_greedy_is_plain_greedy(seed, kind, budget):
    case = make_case(seed, kind, budget=budget)
    taken = greedy(case.graph, case.worth, case.limits)
    picks, gains = plain_greedy(case)
    assert taken.pick_P.tolist() == picks
    assert taken.gain_P.tolist() == gains
    coverage = [value(case, picks[: p + 1]) - value(case, picks[:p]) for p in range(len(picks))]
    assert (taken.coverage_P + case.worth.bonus_C[picks]).tolist() == coverage


def test_greedy_among_some_is_greedy_without_the_others():
    case = make_case(3, Kind(has_weights=True))
    allowed_C = np.arange(13) % 3 > 0
    some = np.flatnonzero(allowed_C)
    graph = graph_of(case.kernel_NC[:, some], case.graph.row_of_C[some], case.graph.cover_N, case.graph.weight_N, 8)
    worth = replace(
        case.worth, bonus_C=case.worth.bonus_C[some], cost_C=np.ones(8), is_forced_C=case.worth.is_forced_C[some],
        is_deferred_C=case.worth.is_deferred_C[some],
    )  # fmt: skip
    alone = greedy(graph, worth, replace(case.limits, code_CQ=case.limits.code_CQ[some]))
    assert greedy(case.graph, case.worth, case.limits, allowed_C).pick_P.tolist() == some[alone.pick_P].tolist()


def test_a_least_number_goes_before_the_avoidance_of_duplicates():
    kernel_NC = np.array([[ONE, ONE, 0, 0], [ONE, ONE, 0, 0], [0, 0, ONE, 0], [0, 0, 0, ONE]], np.uint16)
    graph = graph_of(kernel_NC, np.arange(4), np.array([ONE, ONE, 0, 0], np.uint16), np.zeros(0, np.int64), 4)
    no = np.zeros(4, bool)
    worth = Worth(np.zeros(4, np.int64), np.ones(4), no, no, 0, DUPLICATE)
    quota = Limits(2.0, np.array([[0], [0], [-1], [-1]], np.int32), np.array([1]), np.array([UNLIMITED]))
    assert greedy(graph, worth, quota).pick_P.tolist() == [0, 2]


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS, st.integers(2, 12))
def test_truncated_links_never_overstate_gains(seed, kind, num_links):
    case = make_case(seed, replace(kind, unit=0), num_links=num_links)
    taken = greedy(case.graph, case.worth, case.limits)
    picks = taken.pick_P.tolist()
    assert taken.gain_P.sum() <= value(case, picks) - value(case, [])
    swapped = swap_search(case.graph, case.worth, case.limits, taken.pick_P, np.arange(13), 20)
    after = value(case, swapped.pick_P.tolist()) - value(case, [])
    assert taken.gain_P.sum() + swapped.gain <= after


def twins(case, c, picks, slot):
    """Whether a candidate is a duplicate of a pick of another slot, or of a labeled sample."""
    row = case.graph.row_of_C[c]
    others = [int(case.kernel_NC[row, p]) for s, p in enumerate(picks) if s != slot]
    return max([int(case.graph.cover_N[row]), *others]) >= case.worth.duplicate_kernel


def may_replace(case, c, picks, slot):
    worth, old = case.worth, picks[slot]
    left = max(case.limits.budget - sum(worth.cost_C[p] for p in picks), 0)
    return (
        c not in picks
        and not worth.is_forced_C[old]
        and not worth.is_deferred_C[c]
        and worth.cost_C[c] <= worth.cost_C[old] + left
        and (case.limits.code_CQ[c] == case.limits.code_CQ[old]).all()
        and not twins(case, c, picks, slot)
    )


def swaps_of(case, picks, c):
    """(f after, -slot, slot) of every swap that the limits allow."""
    slots = [s for s in range(len(picks)) if may_replace(case, c, picks, s)]
    return [(value(case, [*picks[:s], c, *picks[s + 1 :]]), -s, s) for s in slots]


def plain_swap_search(case, picks, order, max_passes):
    """Every candidate in turn takes the slot that it improves most, f computed anew."""
    picks, num_swaps = list(picks), 0
    for _ in range(max_passes):
        before = num_swaps
        for c in order:
            now, _, slot = max(swaps_of(case, picks, c), default=(-1, 0, 0))
            if now > value(case, picks):
                picks[slot] = c
                num_swaps += 1
        if num_swaps == before:
            break
    return picks, num_swaps


def start_of(case, seed):
    """Random picks within the limits, so that there is much to swap; forced ones among them."""
    random = np.random.default_rng(seed).integers(0, 10**6, case.graph.num_candidates)
    flat = replace(case.graph, kernel_E=np.zeros_like(case.graph.kernel_E))
    return greedy(flat, replace(case.worth, bonus_C=random, redundancy_unit=0), case.limits).pick_P


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(0, 4), st.integers(1, 8))
def test_swap_search_is_plain_swap_search(seed, kind, max_passes, budget):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    start, order_C = start_of(case, seed), np.random.default_rng(seed).permutation(13)
    swapped = swap_search(case.graph, case.worth, case.limits, start, order_C, max_passes)
    picks, num_swaps = plain_swap_search(case, start.tolist(), order_C.tolist(), max_passes)
    assert swapped.pick_P.tolist() == picks
    assert swapped.num_swaps == num_swaps
    assert swapped.gain == value(case, picks) - value(case, start.tolist())


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 8))
def test_no_swap_is_left_and_limits_are_kept(seed, kind, budget):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    start = start_of(case, seed).tolist()
    found = swap_search(case.graph, case.worth, case.limits, np.array(start, int), np.arange(13), 100)
    picks = found.pick_P.tolist()
    assert all(now <= value(case, picks) for c in range(13) for now, _, _ in swaps_of(case, picks, c))
    assert len(set(picks)) == len(start)
    assert case.worth.cost_C[picks].sum() <= max(case.limits.budget, case.worth.cost_C[start].sum()) + 1e-9
    assert (case.limits.code_CQ[picks] == case.limits.code_CQ[start]).all()
    assert all(picks[s] == c for s, c in enumerate(start) if case.worth.is_forced_C[c])
    moved = [s for s, c in enumerate(start) if picks[s] != c]
    assert not any(twins(case, picks[s], picks, s) for s in moved)


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 8), st.integers(0, 5))
def test_the_runner_up_is_the_best_replacement(seed, kind, budget, max_passes):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    found = swap_search(case.graph, case.worth, case.limits, start_of(case, seed), np.arange(13), max_passes)
    picks = found.pick_P.tolist()
    expected = []
    for slot in range(len(picks)):
        some = [c for c in range(13) if may_replace(case, c, picks, slot)]
        after = {c: value(case, [*picks[:slot], c, *picks[slot + 1 :]]) for c in some}
        expected.append(max(some, key=lambda c: (after[c], -c), default=-1))
    assert found.runner_up_P.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(SEEDS, KINDS)
def test_numbers_of_candidates_matter_only_through_the_order(seed, kind):
    case = make_case(seed, replace(kind, unit=0))
    rng = np.random.default_rng(seed)
    new_C, order_C, start = rng.permutation(13), rng.permutation(13), start_of(case, seed)
    old_C = np.argsort(new_C)
    graph = graph_of(
        case.kernel_NC[:, old_C], case.graph.row_of_C[old_C], case.graph.cover_N, case.graph.weight_N, 13
    )  # fmt: skip
    columns = ("bonus_C", "cost_C", "is_forced_C", "is_deferred_C")
    worth = replace(case.worth, **{name: getattr(case.worth, name)[old_C] for name in columns})
    limits = replace(case.limits, code_CQ=case.limits.code_CQ[old_C])
    first = swap_search(case.graph, case.worth, case.limits, start, order_C, 20)
    other = swap_search(graph, worth, limits, new_C[start], new_C[order_C], 20)
    assert other.pick_P.tolist() == new_C[first.pick_P].tolist()
    assert (other.num_swaps, other.gain) == (first.num_swaps, first.gain)


@pytest.mark.parametrize("seed", range(6))
def test_the_closest_pick_is_the_largest_kernel(seed):
    case = make_case(seed)
    pick_P = np.random.default_rng(seed).permutation(13)[:5]
    owner_N, kernel_N = closest_picks(case.graph, pick_P)
    assert kernel_N.tolist() == case.kernel_NC[:, pick_P].max(axis=1).tolist()
    own_N = np.take_along_axis(case.kernel_NC[:, pick_P], owner_N[:, None], axis=1)[:, 0]
    assert own_N.tolist() == kernel_N.tolist()
    assert owner_N[case.graph.row_of_C[pick_P]].tolist() == list(range(5))  # duplicates too: each stands for itself


def test_a_row_that_keeps_no_pick_has_none():
    kernel_NC = np.array([[ONE, 9, 5], [9, ONE, 5], [5, 9, ONE]], np.uint16)
    graph = graph_of(kernel_NC, np.arange(3), np.zeros(3, np.uint16), np.zeros(0, np.int64), 2)
    owner_N, kernel_N = closest_picks(graph, np.array([0]))
    assert owner_N.tolist() == [0, 0, -1]
    assert kernel_N.tolist() == [ONE, 9, 0]


def test_a_weight_is_that_many_rows():
    case = make_case(11, Kind(has_weights=True))
    rows = np.repeat(np.arange(24), case.weight_N)
    own = [int(np.flatnonzero(rows == r)[0]) if case.weight_N[r] else -1 for r in case.graph.row_of_C]
    kept = np.array([c for c in range(13) if own[c] >= 0])
    columns = ("bonus_C", "cost_C", "is_forced_C", "is_deferred_C")
    worth = replace(case.worth, **{name: getattr(case.worth, name)[kept] for name in columns})
    limits = replace(case.limits, code_CQ=case.limits.code_CQ[kept])
    weighed, repeated = (
        graph_of(case.kernel_NC[np.ix_(rows_N, kept)], row_of_C, case.graph.cover_N[rows_N], weight_N, len(kept))
        for rows_N, row_of_C, weight_N in (
            (np.arange(24), case.graph.row_of_C[kept], case.graph.weight_N),
            (rows, np.array(own)[kept], np.zeros(0, np.int64)),
        )
    )
    first, other = (greedy(graph, worth, limits) for graph in (weighed, repeated))
    assert first.pick_P.tolist() == other.pick_P.tolist()
    assert first.gain_P.tolist() == other.gain_P.tolist()
    moved = [swap_search(graph, worth, limits, first.pick_P, np.arange(len(kept)), 9) for graph in (weighed, repeated)]
    assert moved[0].pick_P.tolist() == moved[1].pick_P.tolist()
    assert moved[0].gain == moved[1].gain
