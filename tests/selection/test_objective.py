import numpy as np
import pytest

from mmcsal.selection.kernel import ONE, kernel_block, make_kernel
from mmcsal.selection.objective import closest_before, evaluate, largest_kernel, random_equivalent_budget
from mmcsal.selection.quantize import UNIT, quantize_joint

KERNEL = make_kernel(UNIT**2 // 4)


@pytest.fixture(scope="module")
def joint_ND(views):
    pool = views(900, seed=2)
    return quantize_joint(pool.a_ND, pool.v_ND)


def test_terms_follow_the_definition(joint_ND):
    picks, labeled = joint_ND[:20], joint_ND[20:25]
    block = kernel_block(joint_ND, joint_ND[:25], KERNEL) / ONE
    among = kernel_block(picks, picks, KERNEL) / ONE
    _, redundancy_P = closest_before(picks, KERNEL)
    base_N = largest_kernel(joint_ND, labeled, KERNEL)
    terms = evaluate(joint_ND, picks, np.linspace(0, 0.6, 20), redundancy_P, KERNEL, base_N=base_N)
    assert terms.coverage == pytest.approx(block.max(axis=1).mean())
    assert terms.alignment == pytest.approx(np.minimum(1, np.linspace(0, 0.6, 20) / 0.3).mean())
    assert terms.redundancy == pytest.approx(np.mean([among[p, :p].max(initial=0) for p in range(20)]))


def test_redundancy_of_many_picks_is_that_of_few(joint_ND):
    many_P, few_P = closest_before(joint_ND[:600], KERNEL)[1], closest_before(joint_ND[:100], KERNEL)[1]
    assert np.array_equal(many_P[:100], few_P)


@pytest.mark.parametrize("num_picks", [60, 500])
def test_random_picks_are_worth_themselves(joint_ND, num_picks):
    picks = np.random.default_rng(9).choice(900, num_picks, replace=False)
    coverage = evaluate(joint_ND, joint_ND[picks], np.ones(num_picks), np.zeros(num_picks), KERNEL).coverage
    found = random_equivalent_budget(joint_ND, joint_ND, KERNEL, coverage)
    assert not found.is_bound
    assert found.budget == pytest.approx(num_picks, rel=0.35 if num_picks < 100 else 0.1)
    assert random_equivalent_budget(joint_ND, joint_ND, KERNEL, coverage) == found


def test_a_sample_without_the_rows_gives_about_the_same(joint_ND):
    coverage = float(largest_kernel(joint_ND, joint_ND[::9], KERNEL).mean()) / ONE
    whole = random_equivalent_budget(joint_ND, joint_ND, KERNEL, coverage).budget
    rows_ND, rest_ND = joint_ND[::2], joint_ND[1::2]
    part = random_equivalent_budget(rows_ND, rest_ND, KERNEL, coverage, num_pool=900).budget
    assert part == pytest.approx(whole, rel=0.25)


def test_a_coverage_that_the_sample_cannot_reach_is_a_bound(joint_ND):
    found = random_equivalent_budget(joint_ND[:100], joint_ND[100:150], KERNEL, 0.99, num_pool=10**6)
    assert (found.budget, found.is_bound) == (50, True)
