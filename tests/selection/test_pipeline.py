import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.errors import TableError
from mmcsal.selection import MmcsalSpec, SelectSpec, select_pairs
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.pipeline import select
from mmcsal.selection.runner import LocalRunner
from mmcsal.selection.scaleout.shard import Shard
from mmcsal.selection.spec import Rho
from mmcsal.selection.strategies.facility_location import FacilityLocationSpec


def shards_of(pool, cuts, order):
    ids = np.array([f"s{i}" for i in range(len(pool.a_ND))])
    parts = np.split(order, cuts)
    return [
        Shard(f"part-{n}", pa.array(ids[p], pa.string()), pool.a_ND[p], pool.v_ND[p], salt_of(0), ("a", "v"))
        for n, p in enumerate(parts)
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": MmcsalSpec(max_cell_size=256)},
        {"strategy": MmcsalSpec(max_rows_per_pick=32)},
        {"strategy": MmcsalSpec(max_cell_size=256), "lambda_div": 0.3},
        {"strategy": MmcsalSpec(max_cell_size=256), "coverage": "separate"},
        {"strategy": MmcsalSpec(max_rows_per_pick=32), "coverage": Rho(rho=0.5), "lambda_div": 0.3},
    ],
)
def test_any_cut_into_shards_gives_the_same(views, settings, monkeypatch):
    monkeypatch.setattr("mmcsal.selection.scaleout.cell_tree.MAX_BUCKET_ROWS", 700)  # several buckets
    pool, spec = views(3000, seed=8, misaligned=0.1), SelectSpec(budget=40, **settings)
    labeled, rng = ["s1", "s700"], np.random.default_rng(0)
    whole = select(LocalRunner(shards_of(pool, [], np.arange(3000))), request_of(spec, labeled, None, 0), seed=0)
    cut = shards_of(pool, [0, 10, 11, 1500, 2999], rng.permutation(3000))  # one of them is empty
    parts = select(LocalRunner(cut, 3), request_of(spec, labeled, None, 0), seed=0)
    for name in ("table", "candidates", "represented"):
        assert getattr(parts, name).equals(getattr(whole, name)), name
    assert parts.summary == whole.summary


@pytest.mark.parametrize("budget", [20, 60])
def test_cells_keep_the_gain_of_a_dense_greedy(views, reference, budget):
    joint_of, dense_greedy, coverage_of = reference
    pool = views(2000, seed=9)
    joint_ND = joint_of(pool)
    one, many = (
        select_pairs(
            pool.a_ND, pool.v_ND, budget, config=SelectSpec(lambda_align=0, strategy=MmcsalSpec(max_cell_size=size))
        )
        for size in (8192, 600)
    )
    assert one.summary["num_cells"] == 1
    assert many.summary["num_cells"] > 5
    bandwidth = one.summary["bandwidth"]
    rng = np.random.default_rng(0)
    random = np.mean([coverage_of(joint_ND, rng.choice(2000, budget), bandwidth) for _ in range(20)])
    dense = coverage_of(joint_ND, dense_greedy(joint_ND, budget, bandwidth), bandwidth)
    shares = [
        (coverage_of(joint_ND, np.array(s.sample_ids, int), bandwidth) - random) / (dense - random) for s in (one, many)
    ]
    assert shares[0] > 0.995
    assert shares[1] > 0.9  # cells of 100-400 rows; those of the defaults are ten times as large


@pytest.mark.parametrize("rho", [0, 0.5])
@pytest.mark.parametrize("is_related", [True, False])
def test_cells_keep_the_gain_of_a_dense_greedy_on_a_mixed_coverage(views, rho, is_related):
    pool, other = views(2500, seed=9), views(2500, seed=10)
    views_ND = (pool.a_ND, pool.v_ND if is_related else other.v_ND)
    spec = SelectSpec(lambda_align=0, coverage=Rho(rho=rho), strategy=MmcsalSpec(max_cell_size=600))
    cells = select_pairs(*views_ND, 60, config=spec)
    dense = select_pairs(*views_ND, 60, config=spec.model_copy(update={"strategy": FacilityLocationSpec()}))
    assert cells.summary["num_cells"] > 3
    rng = np.random.default_rng(0)
    random = np.mean([mixed_coverage(views_ND, cells.summary, rng.choice(2500, 60)) for _ in range(20)])
    gains = [mixed_coverage(views_ND, s.summary, np.array(s.sample_ids, int)) - random for s in (cells, dense)]
    assert gains[0] > 0.97 * gains[1]


def mixed_coverage(views_ND, summary, picks):
    """In floating point, from the definition."""
    units = [x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True) for x_ND in views_ND]
    cosines = [x_ND @ x_ND[picks].T for x_ND in units]
    by_name = {"joint": sum(cosines) / 2, "a": cosines[0], "v": cosines[1]}
    return sum(
        part["weight"] * np.exp((by_name[name] - 1) / part["bandwidth"]).max(axis=1).mean()
        for name, part in summary["parts"].items()
    )


def test_cells_of_a_larger_pool_lose_little(views):
    pool = views(9000, seed=10)
    dense, cells = (
        select_pairs(
            pool.a_ND, pool.v_ND, 100, config=SelectSpec(lambda_align=0, strategy=MmcsalSpec(max_cell_size=size))
        ).summary
        for size in (9000, 8192)
    )
    assert dense["num_cells"] == 1
    assert cells["num_cells"] > 5
    rng = np.random.default_rng(0)
    random = _random_coverage(pool, rng, dense["bandwidth"])
    assert (cells["coverage"] - random) / (dense["coverage"] - random) > 0.95


def _random_coverage(pool, rng, bandwidth):
    parts = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pool.a_ND, pool.v_ND)]
    joint_ND = np.concatenate(parts, axis=1) / np.sqrt(2)
    picks = [rng.choice(len(joint_ND), 100) for _ in range(5)]
    return np.mean([np.exp((joint_ND @ joint_ND[p].T - 1) / bandwidth).max(axis=1).mean() for p in picks])


def test_prefixes_are_good_selections(views, reference):
    joint_of, _, coverage_of = reference
    pool = views(2000, seed=14)
    joint_ND, whole = joint_of(pool), select_pairs(pool.a_ND, pool.v_ND, 80)
    half = select_pairs(pool.a_ND, pool.v_ND, 40)
    bandwidth = half.summary["bandwidth"]
    prefix, own = (np.array(ids, int) for ids in (whole.sample_ids[:40], half.sample_ids))
    assert coverage_of(joint_ND, prefix, bandwidth) > 0.97 * coverage_of(joint_ND, own, bandwidth)


def test_widths_that_differ_between_shards_are_told(views):
    pool = views(40)
    shards = shards_of(pool, [20], np.arange(40))
    narrow = Shard("narrow.parquet", shards[1].ids, shards[1].a_ND[:, :5], shards[1].v_ND, salt_of(0), ("a", "v"))
    with pytest.raises(TableError, match=r"24 and 40 in part-0, 5 and 40 in narrow.parquet"):
        select(LocalRunner([shards[0], narrow]), request_of(SelectSpec(budget=3), None, None, 0), seed=0)
