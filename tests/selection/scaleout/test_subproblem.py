import numpy as np
import pytest

from mmcsal.selection import MmcsalSpec, Quota, SelectSpec, select_pairs

MANY_CELLS = MmcsalSpec(max_cell_size=256)
BUDGET = 80


@pytest.fixture(scope="module")
def pool(views):
    return views(3000, seed=21)


@pytest.fixture
def several_subproblems(monkeypatch):
    monkeypatch.setattr("mmcsal.selection.scaleout.cell_tree.MAX_BUCKET_ROWS", 500)
    monkeypatch.setattr("mmcsal.selection.scaleout.allocation.MAX_SUBPROBLEM_ROWS", 700)


def ids_of(selection):
    return np.array(selection.sample_ids, int)


def test_prefixes_keep_the_gain_of_a_dense_greedy(pool, reference):
    joint_of, dense_greedy, coverage_of = reference
    spec = SelectSpec(lambda_align=0, strategy=MANY_CELLS)
    selection, joint_ND, rng = select_pairs(pool.a_ND, pool.v_ND, BUDGET, config=spec), joint_of(pool), np.random
    assert selection.summary["num_cells"] > 5
    bandwidth, rng = selection.summary["bandwidth"], np.random.default_rng(0)
    own = dense_greedy(joint_ND, BUDGET, bandwidth)  # its prefixes are its own batches
    for num_picks, least in ((BUDGET // 4, 0.97), (BUDGET // 2, 0.97), (BUDGET, 0.99)):
        random = np.mean([coverage_of(joint_ND, rng.choice(3000, num_picks), bandwidth) for _ in range(10)])
        found, best = (coverage_of(joint_ND, picks[:num_picks], bandwidth) for picks in (ids_of(selection), own))
        share = (found - random) / (best - random)
        assert share >= least, f"{num_picks} picks: {share:.3f} of the gain of an own batch"


@pytest.mark.parametrize("size", [8192, 256])
def test_gains_add_up_to_the_objective_of_the_whole_pool(pool, reference, size):
    joint_of, _, coverage_of = reference
    spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=size))
    selection = select_pairs(pool.a_ND, pool.v_ND, BUDGET, config=spec)
    coverage = coverage_of(joint_of(pool), ids_of(selection), selection.summary["bandwidth"])
    assert selection.table["coverage"].to_numpy().sum() == pytest.approx(coverage, abs=0.005)
    threshold, lambda_align = (selection.summary[name] for name in ("align_threshold", "applied_lambda_align"))
    aligned = np.minimum(1, selection.table["alignment"].to_numpy() / threshold).mean()
    assert selection.table["gain"].to_numpy().sum() == pytest.approx(coverage + lambda_align * aligned, abs=0.005)


def test_several_subproblems_keep_the_budget_and_lose_little(pool, reference, several_subproblems, monkeypatch):
    joint_of, _, coverage_of = reference
    spec, joint_ND = SelectSpec(lambda_align=0, strategy=MANY_CELLS), joint_of(pool)
    several = select_pairs(pool.a_ND, pool.v_ND, BUDGET, config=spec)
    monkeypatch.setattr("mmcsal.selection.scaleout.allocation.MAX_SUBPROBLEM_ROWS", 2**21)
    one = select_pairs(pool.a_ND, pool.v_ND, BUDGET, config=spec)
    assert len(set(several.sample_ids)) == BUDGET
    assert several.sample_ids != one.sample_ids
    bandwidth, rng = one.summary["bandwidth"], np.random.default_rng(0)
    random = np.mean([coverage_of(joint_ND, rng.choice(3000, BUDGET), bandwidth) for _ in range(10)])
    values = [coverage_of(joint_ND, ids_of(s), bandwidth) - random for s in (several, one)]
    assert values[0] > 0.95 * values[1]


def test_several_subproblems_keep_limits(pool, several_subproblems):
    rng = np.random.default_rng(0)
    source, costs = rng.choice(["x", "y"], 3000, p=[0.97, 0.03]), rng.choice([0.5, 1.0, 3.0], 3000)
    include = tuple(map(str, rng.permutation(3000)[:8]))
    spec = SelectSpec(
        strategy=MANY_CELLS, include=include, quotas=(Quota(column="source", value="y", min=12, max=14),)
    )  # fmt: skip
    counted = ids_of(select_pairs(pool.a_ND, pool.v_ND, 40, columns={"source": source}, config=spec))
    assert len(set(counted)) == 40
    paid = ids_of(select_pairs(pool.a_ND, pool.v_ND, 60.0, columns={"source": source}, costs=costs, config=spec))
    assert costs[paid].sum() <= 60
    for picks in (counted, paid):
        assert 12 <= (source[picks] == "y").sum() <= 14
        assert set(map(int, include)) <= set(picks.tolist())


def test_a_subproblem_without_candidates_is_covered_by_nobody(views, several_subproblems):
    pool, other = views(500, seed=1), views(2500, seed=2)
    a_ND, v_ND = np.concatenate([pool.a_ND, other.a_ND + 40]), np.concatenate([pool.v_ND, other.v_ND + 40])
    spec = SelectSpec(strategy=MANY_CELLS, exclude=tuple(map(str, range(500, 3000))), num_anchors=64)
    selection = select_pairs(a_ND, v_ND, 20, config=spec)
    assert len(set(selection.sample_ids)) == 20
    assert ids_of(selection).max() < 500
    assert selection.represented is not None
    by = dict(zip(*(selection.represented[name].to_pylist() for name in ("sample_id", "represented_by")), strict=True))
    assert len(by) == 3000
    assert None in {by[str(i)] for i in range(500, 3000)}
