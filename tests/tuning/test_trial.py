import numpy as np
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.evaluation.samples import labeled, split, unlabeled
from mmcsal.evaluation.spec import Contender, EvaluateSpec
from mmcsal.evaluation.trial import run_trial
from mmcsal.selection import SelectSpec
from mmcsal.selection.numerics.kernel import ONE, make_kernel
from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.selection.strategies import KCenterSpec
from mmcsal.tuning.trial import coverage, measure, pool_kernel


def make(num_rows=150, seed=0):
    rng = np.random.default_rng(seed)
    label_N = rng.integers(4, size=num_rows)
    latent = np.eye(4)[label_N] @ rng.normal(size=(4, 6)) + 0.6 * rng.normal(size=(num_rows, 6))
    a_ND, v_ND = (np.tanh(latent @ rng.normal(size=(6, d))).astype(np.float32) for d in (7, 5))
    return labeled([f"{n:04d}" for n in rng.permutation(num_rows)], a_ND, v_ND, [f"class {n}" for n in label_N])


def test_coverage_is_the_mean_kernel_to_the_nearest_pick():
    rng = np.random.default_rng(1)
    x_ND, y_BD = (quantize_joint(rng.normal(size=(n, 3)), rng.normal(size=(n, 4))) for n in (40, 5))
    kernel = make_kernel(2_000_000)
    distance_NB = ((x_ND[:, None].astype(float) - y_BD[None]) ** 2).sum(2) / 2
    expected = np.exp(-distance_NB.min(axis=1) / kernel.bandwidth).mean()
    assert coverage(x_ND, y_BD, kernel) == pytest.approx(expected, abs=0.004)
    assert coverage(y_BD, y_BD, kernel) == 1


def test_the_kernel_is_as_wide_as_so_many_picks_share_the_pool():
    rng = np.random.default_rng(2)
    joint_ND = quantize_joint(rng.normal(size=(120, 3)), rng.normal(size=(120, 4)))
    distance_NN = ((joint_ND[:, None].astype(float) - joint_ND[None]) ** 2).sum(2) / 2
    hash_N = rng.permutation(120).astype(np.uint64)
    expected = np.sort(distance_NN, axis=1)[:, 12].mean()  # the 12th neighbour beside the row itself: 120 / 10
    assert pool_kernel(joint_ND, hash_N, 10).bandwidth == pytest.approx(expected, rel=0.01)
    assert pool_kernel(joint_ND, hash_N, 40).bandwidth < pool_kernel(joint_ND, hash_N, 10).bandwidth
    assert pool_kernel(joint_ND, hash_N, 10).table_T[0] == ONE


def test_with_labels_it_is_the_accuracy_that_an_evaluation_finds():
    samples, spec = make(), EvaluateSpec(budgets=(6, 20))
    expected = run_trial(samples, Contender(name="x", select={"lambda_align": 0.1}), spec, seed=4)
    found = measure(samples, SelectSpec(lambda_align=0.1), budgets=(6, 20), seed=4)
    for key in ("accuracy", "macro_f1", "num_picks", "num_pool", "num_test", "budget", "seed"):
        assert [row[key] for row in found] == [row[key] for row in expected]


def test_without_labels_there_is_coverage_alone_and_more_picks_cover_more():
    samples = make()
    samples = unlabeled(samples.ids.tolist(), samples.a_ND, samples.v_ND)
    kernel = pool_kernel(quantize_joint(samples.a_ND, samples.v_ND), np.arange(150, dtype=np.uint64), 10)
    pool, test = split(samples, test_fraction=1 / 3, seed=0)
    joint_ND, test_joint_TD = (quantize_joint(part.a_ND, part.v_ND) for part in (pool, test))
    assert coverage(test_joint_TD, joint_ND[:40], kernel) > coverage(test_joint_TD, joint_ND[:10], kernel)
    (row,) = measure(samples, SelectSpec(), budgets=(0.1,), seed=0)
    assert (row["accuracy"], row["macro_f1"], row["num_picks"]) == (None, None, 10)
    assert 0 < row["coverage"] < 1


def test_a_strategy_that_refuses_the_pool_says_so():
    with pytest.raises(InputError, match="k_center"):
        measure(make(), SelectSpec(strategy=KCenterSpec(max_pool_size=20)), budgets=(5,), seed=0)
