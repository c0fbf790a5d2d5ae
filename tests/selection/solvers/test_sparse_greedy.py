"""Greedy on the graph, against plain Python from the definitions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.kernel import ONE
from mmcsal.selection.objective.constraints import UNLIMITED, Limits
from mmcsal.selection.solvers.neighbor_graph import CandidateTerms, closest_picks, gains_in_order
from mmcsal.selection.solvers.sparse_greedy import greedy
from tests.selection.graph_cases import DUPLICATE, KINDS, SEEDS, Kind, closeness, graph_of, make_case, value


def counts(case, picks):
    codes = case.limits.code_CQ[list(picks)].reshape(-1)
    return np.bincount(codes[codes >= 0], minlength=len(case.limits.max_G))


def plain_greedy(case):
    """Every gain of every step from the definition; the first of equals."""
    terms, limits, picks, gains = case.terms, case.limits, [], []

    def gain(c):
        loss = closeness(case, c, picks) * terms.redundancy_unit // ONE
        return value(case, [*picks, c]) - value(case, picks) - loss

    while True:
        left = limits.budget * (1 + 1e-12) - sum(terms.cost_C[p] for p in picks)
        need_G, room_G = limits.min_G - counts(case, picks), limits.max_G - counts(case, picks)
        codes = {c: [g for g in limits.code_CQ[c] if g >= 0] for c in range(case.graph.num_candidates)}
        fits = [c for c in codes if c not in picks and terms.cost_C[c] <= left and all(room_G[g] > 0 for g in codes[c])]
        plain = [c for c in fits if not terms.is_deferred_C[c] and closeness(case, c, picks) < terms.duplicate_kernel]
        forced = [c for c in fits if terms.is_forced_C[c]]
        needed = [[c for c in some if any(need_G[g] > 0 for g in codes[c])] for some in (plain, fits)]
        first = next((some for some in (forced, *needed, plain, fits) if some), None)
        if first is None:
            return picks, gains
        best = max(first, key=lambda c: (gain(c) / terms.cost_C[c], -c))
        gains.append(gain(best))
        picks.append(best)


@settings(max_examples=150, deadline=None)
@given(SEEDS, KINDS, st.integers(1, 14))
def test_greedy_is_plain_greedy(seed, kind, budget):
    case = make_case(seed, kind, budget=budget)
    taken = greedy(case.graph, case.terms, case.limits)
    picks, gains = plain_greedy(case)
    assert taken.pick_P.tolist() == picks
    assert taken.gain_P.tolist() == gains
    coverage = [value(case, picks[: p + 1]) - value(case, picks[:p]) for p in range(len(picks))]
    assert (taken.coverage_P + case.terms.bonus_C[picks]).tolist() == coverage


def test_greedy_among_some_is_greedy_without_the_others():
    case = make_case(3, Kind(has_weights=True))
    allowed_C = np.arange(13) % 3 > 0
    some = np.flatnonzero(allowed_C)
    graph = graph_of(case.kernel_NC[:, some], case.graph.row_of_C[some], case.graph.cover_N, case.graph.weight_N, 8)
    terms = case.terms._replace(
        bonus_C=case.terms.bonus_C[some], cost_C=np.ones(8), is_forced_C=case.terms.is_forced_C[some],
        is_deferred_C=case.terms.is_deferred_C[some],
    )  # fmt: skip
    alone = greedy(graph, terms, replace(case.limits, code_CQ=case.limits.code_CQ[some]))
    assert greedy(case.graph, case.terms, case.limits, allowed_C).pick_P.tolist() == some[alone.pick_P].tolist()


def test_a_least_number_goes_before_the_avoidance_of_duplicates():
    kernel_NC = np.array([[ONE, ONE, 0, 0], [ONE, ONE, 0, 0], [0, 0, ONE, 0], [0, 0, 0, ONE]], np.uint16)
    graph = graph_of(kernel_NC, np.arange(4), np.array([ONE, ONE, 0, 0], np.uint16), np.zeros(0, np.int64), 4)
    no = np.zeros(4, bool)
    terms = CandidateTerms(np.zeros(4, np.int64), np.ones(4), no, no, 0, DUPLICATE)
    quota = Limits(2.0, np.array([[0], [0], [-1], [-1]], np.int32), np.array([1]), np.array([UNLIMITED]))
    assert greedy(graph, terms, quota).pick_P.tolist() == [0, 2]


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS, st.integers(2, 12))
def test_truncated_neighbors_never_overstate_gains(seed, kind, num_neighbors):
    case = make_case(seed, replace(kind, unit=0), num_neighbors=num_neighbors)
    taken = greedy(case.graph, case.terms, case.limits)
    picks = taken.pick_P.tolist()
    assert taken.gain_P.sum() <= value(case, picks) - value(case, [])


@settings(max_examples=60, deadline=None)
@given(SEEDS, KINDS)
def test_gains_in_the_order_of_the_greedy_are_those_of_the_greedy(seed, kind):
    case = make_case(seed, kind, num_neighbors=6)
    taken = greedy(case.graph, case.terms, case.limits)
    again = gains_in_order(case.graph, case.terms, taken.pick_P)
    assert again.gain_P.tolist() == taken.gain_P.tolist()
    assert again.coverage_P.tolist() == taken.coverage_P.tolist()


def test_gains_in_another_order_are_those_of_the_definition():
    case = make_case(8, Kind(has_weights=True))
    picks = [7, 2, 11, 5]
    found = gains_in_order(case.graph, case.terms, np.array(picks))
    assert found.gain_P.tolist() == [value(case, picks[: p + 1]) - value(case, picks[:p]) for p in range(4)]


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
