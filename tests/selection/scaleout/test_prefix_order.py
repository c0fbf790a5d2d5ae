"""Ranks: every prefix is a good batch."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection import MmcsalSpec, SelectSpec, select_pairs
from mmcsal.selection.scaleout.prefix_order import best_quarter, nested_order, order_after
from mmcsal.selection.solvers.sparse_greedy import greedy
from tests.selection.graph_cases import SEEDS, Kind, make_case, value

PASSES = 20


def order_of(case):
    return np.random.default_rng(5).permutation(case.graph.num_candidates)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans(), st.booleans(), st.integers(1, 40))
def test_the_picks_are_ordered_and_none_is_lost(seed, has_weights, has_costs, num_picks):
    case = make_case(seed, Kind(has_weights=has_weights, has_costs=has_costs), num_rows=60, num_candidates=40)
    pick_P = np.random.default_rng(seed).permutation(40)[:num_picks]
    ranked = nested_order(case.graph, case.terms, pick_P, order_of(case), PASSES)
    assert sorted(ranked.tolist()) == sorted(pick_P.tolist())
    again = nested_order(case.graph, case.terms, pick_P[::-1].copy(), order_of(case), PASSES)
    assert again.tolist() == ranked.tolist()  # whatever order they come in


def test_the_best_quarter_is_near_the_best_of_all_quarters():
    """On these pools: on others a search by swaps may end at a worse one, seldom."""
    shares = []
    for seed in range(100):
        case = make_case(seed, Kind(has_weights=bool(seed % 2)))
        pick_P = np.random.default_rng(seed).permutation(13)[:10]
        # Duplicates are no matter here.
        terms = case.terms._replace(duplicate_kernel=2**17, bonus_C=np.zeros(13, np.int64))
        case = replace(case, terms=terms)
        quarter_P = best_quarter(case.graph, terms, pick_P, order_of(case), PASSES)
        assert len(set(quarter_P.tolist())) == 3
        assert set(quarter_P.tolist()) <= set(pick_P.tolist())
        best = max(value(case, some) for some in combinations(pick_P.tolist(), 3))
        shares.append(value(case, quarter_P.tolist()) / best)
    assert min(shares) >= 0.97
    assert np.mean(shares) >= 0.999


def test_swaps_make_a_quarter_better_than_greedy():
    gains = []
    for seed in range(20):
        case = make_case(seed, num_rows=120, num_candidates=60)
        pick_P = np.arange(60)
        values = [
            value(case, best_quarter(case.graph, case.terms, pick_P, order_of(case), n).tolist()) for n in (0, PASSES)
        ]
        gains.append(values[1] - values[0])
    assert min(gains) >= 0
    assert np.mean(np.array(gains) > 0) > 0.5


def test_where_costs_differ_a_quarter_is_the_head_of_the_greedy():
    case = make_case(4, Kind(has_costs=True), num_rows=60, num_candidates=40, budget=np.inf)
    terms = case.terms._replace(is_forced_C=np.zeros(40, bool))
    expected = greedy(case.graph, terms, case.limits).pick_P[:10]
    assert best_quarter(case.graph, terms, np.arange(40), order_of(case), PASSES).tolist() == expected.tolist()


def test_those_behind_follow_by_greedy_from_what_the_first_cover():
    case = make_case(2, num_rows=40, num_candidates=20)
    pick_P, first_P = np.arange(12), np.array([3, 9])
    ranked = order_after(case.graph, case.terms, pick_P, first_P)
    picks, late = first_P.tolist(), []
    for c in ranked.tolist():
        row = case.graph.row_of_C[c]
        is_twin = case.kernel_NC[row, picks].max() >= case.terms.duplicate_kernel
        gains = {o: value(case, [*picks, o]) for o in ranked.tolist() if o not in picks}
        if is_twin:
            late.append(c)
        else:
            assert not late  # duplicates come last
            rest = [
                o for o in gains if case.kernel_NC[case.graph.row_of_C[o], picks].max() < case.terms.duplicate_kernel
            ]
            assert c == max(rest, key=lambda o: (gains[o], -o))
        picks.append(c)
    assert set(picks) == set(range(12))


@pytest.mark.parametrize("max_cell_size", [8192, 256])  # rows keep all candidates, or few of them
@pytest.mark.parametrize("given", [{}, {"lambda_div": 0.3}, {"align_form": "discount"}, {"align_form": "gate"}])
def test_every_prefix_of_a_batch_is_worth_more_than_random_picks_of_it(views, reference, max_cell_size, given):
    joint_of, _, coverage_of = reference
    pool = views(6000, seed=3, misaligned=0.1)
    spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=max_cell_size), **given)
    selection = select_pairs(pool.a_ND, pool.v_ND, 120, config=spec)
    picks, joint_ND = np.array(selection.sample_ids, int), joint_of(pool)
    rng, bandwidth = np.random.default_rng(0), selection.summary["bandwidth"]
    for size in (8, 30, 60):
        random = [coverage_of(joint_ND, rng.permutation(picks)[:size], bandwidth) for _ in range(20)]
        assert coverage_of(joint_ND, picks[:size], bandwidth) > max(random)
