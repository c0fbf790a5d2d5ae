import numpy as np
import pytest

from mmcsal import select_pairs
from mmcsal.selection import MmcsalSpec, SelectSpec
from mmcsal.selection.numerics.kernel import kernel_block, make_kernel
from mmcsal.selection.numerics.quantize import UNIT, quantize
from mmcsal.selection.objective.density_weights import MAX_WEIGHT, WEIGHT_UNIT, fit_tempering, normalised, tempered


@pytest.fixture(scope="module")
def pool(views):
    return views(400, seed=7)


def test_weights_are_in_units_of_their_mean():
    assert normalised(np.array([1.0, 2.0, 3.0, 2.0])).tolist() == [128, 256, 384, 256]
    assert normalised(np.array([0.0, 1e-9, 1.0])).tolist() == [0, 1, 768]
    assert normalised(np.array([1e9, *np.full(1000, 1e-3)])).max() == MAX_WEIGHT


@pytest.mark.parametrize("size", [8192, 64])
def test_the_scale_of_weights_does_not_matter(pool, size):
    weights = np.random.default_rng(0).gamma(1.0, size=400)
    spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=size))
    plain, *scaled = (
        select_pairs(pool.a_ND, pool.v_ND, 20, weights=weights * x, config=spec) for x in (1, 3.7, 2**10, 2.0**-30)
    )
    assert all(s.table.equals(plain.table) for s in scaled)
    assert plain.sample_ids != select_pairs(pool.a_ND, pool.v_ND, 20, config=spec).sample_ids
    assert plain.sample_ids == select_pairs(pool.a_ND, pool.v_ND, 20, weights=weights * 4, config=spec).sample_ids


def test_equal_weights_are_no_weights(pool):
    plain = select_pairs(pool.a_ND, pool.v_ND, 20)
    assert select_pairs(pool.a_ND, pool.v_ND, 20, weights=np.full(400, 0.3)).sample_ids == plain.sample_ids


def test_rows_of_weight_0_do_not_count(pool, views):
    far = views(40, seed=99, num_classes=40)  # another mixture
    a_ND, v_ND = np.concatenate([pool.a_ND, -3 * far.a_ND]), np.concatenate([pool.v_ND, -3 * far.v_ND])
    weights = np.array([1.0] * 400 + [0.0] * 40)
    spec = SelectSpec(lambda_align=0)
    selection = select_pairs(a_ND, v_ND, 25, weights=weights, config=spec)
    assert max(map(int, selection.sample_ids)) < 400
    assert max(map(int, select_pairs(a_ND, v_ND, 25, config=spec).sample_ids)) >= 400
    assert selection.table["mass"].to_numpy().sum() == pytest.approx(440, abs=1)  # all weight is represented


def test_a_pool_whose_weight_lies_in_few_rows_is_evaluated(views):
    pool, weights = views(3000, seed=2), np.zeros(3000)
    for row in (7, 8, 9, 11):  # some of them outside of the sample that the summary is measured on
        weights[:] = 0
        weights[row] = 1
        summary = select_pairs(pool.a_ND, pool.v_ND, 3, weights=weights, config=SelectSpec(num_anchors=64)).summary
        assert summary["coverage"] == 1


def test_of_twins_one_is_picked(pool):
    twice = [np.concatenate([x, x]) for x in (pool.a_ND, pool.v_ND)]
    for size in (8192, 64):
        spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=size), lambda_align=0)
        picks = {int(i) % 400 for i in select_pairs(*twice, 60, config=spec).sample_ids}
        assert len(picks) == 60


def test_tempering_weighs_rows_by_their_density():
    rng = np.random.default_rng(0)
    rows_ND = quantize(np.concatenate([np.eye(8)[:1] + 0.1 * rng.normal(size=(190, 8)), rng.normal(size=(10, 8))]))
    kernel = make_kernel(UNIT**2 // 10)
    whole, half, none = (fit_tempering(rows_ND, kernel, power) for power in (1.0, 0.5, 0.0))
    density_N = kernel_block(rows_ND, rows_ND, kernel).sum(axis=1, dtype=np.int64)
    expected_N = (1 / density_N) / (1 / density_N).mean()
    assert tempered(rows_ND, whole) / WEIGHT_UNIT == pytest.approx(expected_N, rel=0.05)
    assert tempered(rows_ND, half) / WEIGHT_UNIT == pytest.approx(density_N**-0.5 / (density_N**-0.5).mean(), rel=0.05)
    assert set(tempered(rows_ND, none).tolist()) == {WEIGHT_UNIT}
    assert np.array_equal(fit_tempering(rows_ND, kernel, 1.0).weight_T, whole.weight_T)


def test_tempering_picks_more_of_rare_regions():
    rng = np.random.default_rng(1)
    label_N = rng.choice(20, 1200, p=np.array([0.62] + [0.02] * 19))
    latent = (rng.normal(size=(20, 12)) * 1.2)[label_N] + 0.5 * rng.normal(size=(1200, 12))
    a_ND, v_ND = (latent @ rng.normal(size=(12, 16)) for _ in range(2))
    shares = []
    for power in (0.0, 1.0):
        spec = SelectSpec(tempering=power, lambda_align=0)
        picks = np.array(select_pairs(a_ND, v_ND, 40, config=spec).sample_ids, int)
        shares.append((label_N[picks] > 0).mean())
    assert shares[1] > shares[0] + 0.05
