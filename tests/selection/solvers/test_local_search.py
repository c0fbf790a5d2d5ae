"""The swap search, against plain Python from the definitions."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.solvers.local_search import swap_search
from mmcsal.selection.solvers.sparse_greedy import greedy
from tests.selection.graph_cases import KINDS, SEEDS, Kind, graph_of, make_case, start_of, value


def twins(case, c, picks, slot):
    """Whether a candidate is a duplicate of a pick of another slot, or of a labeled sample."""
    row = case.graph.row_of_C[c]
    others = [int(case.kernel_NC[row, p]) for s, p in enumerate(picks) if s != slot]
    return max([int(case.graph.cover_N[row]), *others]) >= case.terms.duplicate_kernel


def may_replace(case, c, picks, slot):
    terms, old = case.terms, picks[slot]
    left = max(case.limits.budget - sum(terms.cost_C[p] for p in picks), 0)
    return (
        c not in picks
        and not terms.is_forced_C[old]
        and not terms.is_deferred_C[c]
        and terms.cost_C[c] <= terms.cost_C[old] + left
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


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(0, 4), st.integers(1, 8))
def test_swap_search_is_plain_swap_search(seed, kind, max_passes, budget):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    start, order_C = start_of(case, seed), np.random.default_rng(seed).permutation(13)
    swapped = swap_search(case.graph, case.terms, case.limits, start, order_C, max_passes)
    picks, num_swaps = plain_swap_search(case, start.tolist(), order_C.tolist(), max_passes)
    assert swapped.pick_P.tolist() == picks
    assert swapped.num_swaps == num_swaps
    assert swapped.gain == value(case, picks) - value(case, start.tolist())


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 8))
def test_no_swap_is_left_and_limits_are_kept(seed, kind, budget):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    start = start_of(case, seed).tolist()
    found = swap_search(case.graph, case.terms, case.limits, np.array(start, int), np.arange(13), 100)
    picks = found.pick_P.tolist()
    assert all(now <= value(case, picks) for c in range(13) for now, _, _ in swaps_of(case, picks, c))
    assert len(set(picks)) == len(start)
    assert case.terms.cost_C[picks].sum() <= max(case.limits.budget, case.terms.cost_C[start].sum()) + 1e-9
    assert (case.limits.code_CQ[picks] == case.limits.code_CQ[start]).all()
    assert all(picks[s] == c for s, c in enumerate(start) if case.terms.is_forced_C[c])
    moved = [s for s, c in enumerate(start) if picks[s] != c]
    assert not any(twins(case, picks[s], picks, s) for s in moved)


@settings(max_examples=120, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 8), st.integers(0, 5))
def test_the_runner_up_is_the_best_replacement(seed, kind, budget, max_passes):
    case = make_case(seed, replace(kind, unit=0), budget=budget)
    found = swap_search(case.graph, case.terms, case.limits, start_of(case, seed), np.arange(13), max_passes)
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
    terms = case.terms._replace(**{name: getattr(case.terms, name)[old_C] for name in columns})
    limits = replace(case.limits, code_CQ=case.limits.code_CQ[old_C])
    first = swap_search(case.graph, case.terms, case.limits, start, order_C, 20)
    other = swap_search(graph, terms, limits, new_C[start], new_C[order_C], 20)
    assert other.pick_P.tolist() == new_C[first.pick_P].tolist()
    assert (other.num_swaps, other.gain) == (first.num_swaps, first.gain)


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS, st.integers(2, 12))
def test_truncated_neighbors_never_overstate_what_swaps_gain(seed, kind, num_neighbors):
    case = make_case(seed, replace(kind, unit=0), num_neighbors=num_neighbors)
    taken = greedy(case.graph, case.terms, case.limits)
    swapped = swap_search(case.graph, case.terms, case.limits, taken.pick_P, np.arange(13), 20)
    after = value(case, swapped.pick_P.tolist()) - value(case, [])
    assert taken.gain_P.sum() + swapped.gain <= after


def test_a_weight_is_that_many_rows():
    case = make_case(11, Kind(has_weights=True))
    rows = np.repeat(np.arange(24), case.weight_N)
    own = [int(np.flatnonzero(rows == r)[0]) if case.weight_N[r] else -1 for r in case.graph.row_of_C]
    kept = np.array([c for c in range(13) if own[c] >= 0])
    columns = ("bonus_C", "cost_C", "is_forced_C", "is_deferred_C")
    terms = case.terms._replace(**{name: getattr(case.terms, name)[kept] for name in columns})
    limits = replace(case.limits, code_CQ=case.limits.code_CQ[kept])
    weighed, repeated = (
        graph_of(case.kernel_NC[np.ix_(rows_N, kept)], row_of_C, case.graph.cover_N[rows_N], weight_N, len(kept))
        for rows_N, row_of_C, weight_N in (
            (np.arange(24), case.graph.row_of_C[kept], case.graph.weight_N),
            (rows, np.array(own)[kept], np.zeros(0, np.int64)),
        )
    )
    first, other = (greedy(graph, terms, limits) for graph in (weighed, repeated))
    assert first.pick_P.tolist() == other.pick_P.tolist()
    assert first.gain_P.tolist() == other.gain_P.tolist()
    moved = [swap_search(graph, terms, limits, first.pick_P, np.arange(len(kept)), 9) for graph in (weighed, repeated)]
    assert moved[0].pick_P.tolist() == moved[1].pick_P.tolist()
    assert moved[0].gain == moved[1].gain
