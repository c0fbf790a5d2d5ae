import numpy as np
import pytest

from mmcsal.selection.numerics.kernel import ONE, kernel_block, make_kernel
from mmcsal.selection.numerics.quantize import UNIT, quantize_joint
from mmcsal.selection.objective.coverage_parts import joint_coverage
from mmcsal.selection.objective.evaluation import evaluate, knee
from mmcsal.selection.objective.terms import (
    alignment_term,
    closest_before,
    coverage,
    largest_kernel,
    objective,
    redundancy,
)

KERNEL = make_kernel(UNIT**2 // 4)
COVERAGE = joint_coverage(KERNEL)


@pytest.fixture(scope="module")
def joint_ND(views):
    pool = views(900, seed=2)
    return quantize_joint(pool.a_ND, pool.v_ND)


def evaluated(rows_ND, picks_PD, random_RD, **given):
    plain = {"aligned_P": np.ones(len(picks_PD)), "redundancy_P": closest_before(picks_PD, KERNEL)[1]}
    return evaluate(rows_ND, picks_PD, random_RD, COVERAGE, **{**plain, "lambda_align": 0, "lambda_div": 0, **given})


def test_terms_follow_the_definition(joint_ND):
    picks, labeled = joint_ND[:20], joint_ND[20:25]
    block = kernel_block(joint_ND, joint_ND[:25], KERNEL) / ONE
    among = kernel_block(picks, picks, KERNEL) / ONE
    _, redundancy_P = closest_before(picks, KERNEL)
    base_N = largest_kernel(joint_ND, labeled, KERNEL)
    weight_N = np.arange(900)
    assert coverage(joint_ND, picks, KERNEL, base_N=base_N) == pytest.approx(block.max(axis=1).mean())
    weighted = (block.max(axis=1) * weight_N).sum() / weight_N.sum()
    assert coverage(joint_ND, picks, KERNEL, base_N=base_N, weight_N=weight_N) == pytest.approx(weighted)
    assert alignment_term(np.linspace(0, 1, 21)) == pytest.approx(0.5)
    assert redundancy(redundancy_P) == pytest.approx(np.mean([among[p, :p].max(initial=0) for p in range(20)]))
    assert objective(0.5, 0.8, 0.25, lambda_align=0.25, lambda_div=0.4).objective == pytest.approx(0.5 + 0.2 - 0.1)


def test_an_evaluation_has_the_terms_and_the_curve(joint_ND):
    picks, base_N = joint_ND[:300], largest_kernel(joint_ND, joint_ND[500:503], KERNEL)
    found = evaluated(joint_ND, picks, joint_ND, base_NU=base_N[:, None], lambda_align=0.5, aligned_P=np.full(300, 0.5))
    assert found.terms.coverage == pytest.approx(coverage(joint_ND, picks, KERNEL, base_N=base_N))
    assert found.terms.objective == pytest.approx(found.terms.coverage + 0.25)
    labels, values = zip(*found.coverage_curve, strict=True)
    assert (labels[0], labels[-1]) == (0, 300)
    assert values[0] == pytest.approx(base_N.mean() / ONE)
    for num_labels, value in found.coverage_curve[1::9]:
        assert value == pytest.approx(coverage(joint_ND, picks[:num_labels], KERNEL, base_N=base_N))
    left = 1 - found.coverage_random
    assert found.gain_over_random == pytest.approx((found.terms.coverage - found.coverage_random) / left)


def test_redundancy_of_many_picks_is_that_of_few(joint_ND):
    many_P, few_P = closest_before(joint_ND[:600], KERNEL)[1], closest_before(joint_ND[:100], KERNEL)[1]
    assert np.array_equal(many_P[:100], few_P)


@pytest.mark.parametrize("num_picks", [60, 500])
def test_random_picks_are_worth_themselves(joint_ND, num_picks):
    picks = np.random.default_rng(9).choice(900, num_picks, replace=False)
    found = evaluated(joint_ND, joint_ND[picks], joint_ND)
    assert not found.random_equivalent_is_bound
    assert found.random_equivalent_budget == pytest.approx(num_picks, rel=0.35 if num_picks < 100 else 0.1)
    assert abs(found.gain_over_random) < 0.05
    assert evaluated(joint_ND, joint_ND[picks], joint_ND) == found


def test_a_sample_without_the_rows_gives_about_the_same(joint_ND):
    picks = joint_ND[::9]
    whole = evaluated(joint_ND, picks, joint_ND).random_equivalent_budget
    part = evaluated(joint_ND[::2], picks, joint_ND[1::2], num_pool=900).random_equivalent_budget
    assert part == pytest.approx(whole, rel=0.25)


def test_a_coverage_that_the_sample_cannot_reach_is_a_bound(joint_ND):
    found = evaluated(joint_ND[:100], joint_ND[:95], joint_ND[100:150], num_pool=10**6)
    assert (found.random_equivalent_budget, found.random_equivalent_is_bound) == (50, True)


def test_the_knee_is_furthest_above_the_chord():
    curve_P = np.concatenate([np.linspace(0, 0.8, 9), np.linspace(0.81, 1.0, 20)])
    assert knee(curve_P) == 8
    assert knee(np.array([0.3])) == 0
