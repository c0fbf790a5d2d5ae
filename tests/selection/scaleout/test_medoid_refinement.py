import numpy as np
import pytest

from mmcsal.selection import MmcsalSpec, SelectSpec, select_pairs


@pytest.mark.parametrize("budget", [3, 20])
def test_few_picks_are_better_than_random_and_near_a_dense_greedy(views, reference, budget):
    joint_of, dense_greedy, coverage_of = reference
    pool = views(4000, seed=11)
    joint_ND = joint_of(pool)
    spec = SelectSpec(strategy=MmcsalSpec(max_rows_per_pick=64), lambda_align=0)
    selection = select_pairs(pool.a_ND, pool.v_ND, budget, config=spec)
    assert selection.summary["num_rows_solved"] == 32 * budget
    bandwidth = selection.summary["bandwidth"]
    rng = np.random.default_rng(0)
    random = np.mean([coverage_of(joint_ND, rng.choice(4000, budget), bandwidth) for _ in range(20)])
    dense = coverage_of(joint_ND, dense_greedy(joint_ND, budget, bandwidth), bandwidth)
    found = coverage_of(joint_ND, np.array(selection.sample_ids, int), bandwidth)
    assert len(set(selection.sample_ids)) == budget
    assert (found - random) / (dense - random) > 0.8


def test_the_exchange_improves_what_the_sample_gave(views, reference, monkeypatch):
    joint_of, _, coverage_of = reference
    pool = views(4000, seed=12)
    spec, joint_ND = SelectSpec(strategy=MmcsalSpec(max_rows_per_pick=64), lambda_align=0), joint_of(pool)
    moved = select_pairs(pool.a_ND, pool.v_ND, 12, config=spec)
    monkeypatch.setattr("mmcsal.selection.planning.REFINED_ROWS", 1)  # sees no more than the greedy: no pass
    kept = select_pairs(pool.a_ND, pool.v_ND, 12, config=spec)
    coverages = [coverage_of(joint_ND, np.array(s.sample_ids, int), s.summary["bandwidth"]) for s in (moved, kept)]
    assert moved.sample_ids != kept.sample_ids
    assert coverages[0] > coverages[1] + 0.005


def test_labeled_samples_are_kept_out_of_few_picks(views):
    pool = views(3000, seed=13)
    labeled = [str(i) for i in range(0, 3000, 60)]
    spec = SelectSpec(strategy=MmcsalSpec(max_rows_per_pick=32))
    selection = select_pairs(pool.a_ND, pool.v_ND, 5, labeled=labeled, config=spec)
    assert len(set(selection.sample_ids)) == 5
    assert not set(selection.sample_ids) & set(labeled)
    assert np.all(np.diff(selection.table["gain"].to_numpy()) <= 0)
