import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.candidate import CANDIDATE
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.selection import SELECTION
from mmcsal.selection import SelectSpec, select_pairs
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.pipeline import select
from mmcsal.selection.runner import LocalRunner
from mmcsal.selection.scaleout.shard import Shard


@pytest.fixture(scope="module")
def pool(views):
    return views(600, seed=4, misaligned=0.1)


@pytest.fixture(scope="module")
def selection(pool):
    return select_pairs(pool.a_ND, pool.v_ND, 30, labeled=["7", "8"])


def test_tables_keep_their_contracts(selection):
    assert selection.table.schema == SELECTION
    assert selection.candidates.schema == CANDIDATE
    assert selection.table["rank"].to_pylist() == list(range(30))


def test_gains_add_up_to_the_objective(selection, pool):
    gains = selection.table["gain"].to_numpy()
    assert np.all(np.diff(gains) <= 0)
    summary = selection.summary
    without = select_pairs(pool.a_ND[:], pool.v_ND, 1, labeled=["7", "8"])
    covered_before = summary["objective"] - gains.sum()  # what the labeled samples cover
    assert 0 < covered_before < without.summary["coverage"]
    assert selection.table["coverage"].to_numpy().sum() + covered_before == pytest.approx(summary["coverage"], abs=1e-6)


def test_redundancy_is_the_kernel_to_the_nearest_before(selection):
    rows = selection.table.to_pylist()
    assert rows[0]["nearest_selected"] is None
    before = set()
    for row in rows:
        assert row["nearest_selected"] is None or row["nearest_selected"] in before
        before.add(row["sample_id"])
    assert selection.summary["redundancy"] == pytest.approx(np.mean([row["redundancy"] for row in rows]))


def test_every_row_is_represented(selection):
    table = selection.represented
    assert table.num_rows == 600
    picked = set(selection.sample_ids)
    assert set(table["represented_by"].to_pylist()) == picked
    own = {row["sample_id"]: row for row in table.to_pylist()}
    assert all(own[i]["represented_by"] == i and own[i]["kernel"] == 1 for i in picked)
    # Two rows are labeled, and what lies nearest to them is theirs.
    assert 550 <= selection.table["mass"].to_numpy().sum() <= 598


def test_answers_carry_numbers(selection):
    first = selection.sample_ids[0]
    assert f"{first!r} was selected at rank 0" in selection.explain(first)
    other = next(str(i) for i in range(600) if str(i) not in selection.sample_ids and i not in (7, 8))
    answer = selection.explain(other)
    assert "was not selected" in answer
    assert "nearest selected sample" in answer
    assert "labeled already" in selection.explain("7")
    with pytest.raises(InputError, match="'600'"):
        selection.explain("600")


def test_a_duplicate_is_told(pool):
    a_ND, v_ND = np.repeat(pool.a_ND[:40], 2, axis=0), np.repeat(pool.v_ND[:40], 2, axis=0)
    selection = select_pairs(a_ND, v_ND, 10)
    twin = str(int(selection.sample_ids[0]) ^ 1)
    assert "near-duplicate" in selection.explain(twin)


def test_low_alignment_is_told(views):
    pool = views(600, seed=4, misaligned=0.2)
    selection = select_pairs(pool.a_ND, pool.v_ND, 600)
    low = [r for r in selection.table.to_pylist() if r["alignment"] < 0.3]
    assert len(low) > 50
    assert all("disagree" in r["reason"] for r in low)


def test_uris_are_joined(selection):
    uris = pa.table({"sample_id": [*selection.sample_ids[:-1], "x"], "uri": [f"/{i}.mp4" for i in range(30)]})
    joined = selection.with_uris(uris)
    assert joined.table.schema == SELECTION
    assert joined.table["uri"].to_pylist() == [f"/{i}.mp4" for i in range(29)] + [None]


def test_runners_up_are_told(selection):
    runners_up = selection.table["runner_up"].to_pylist()
    assert None not in runners_up
    assert not {*runners_up} & {*selection.sample_ids, "7", "8"}
    for row in selection.table.to_pylist():
        assert f"the next best in its place is {row['runner_up']!r}" in row["reason"]
    of_pick = dict(zip(selection.sample_ids, runners_up, strict=True))
    covered_by = {row["sample_id"]: row["represented_by"] for row in selection.represented.to_pylist()}
    near = [i for i in runners_up if of_pick[covered_by[i]] == i]
    assert near
    assert "it is the runner-up of that pick" in selection.explain(near[0])


def test_a_summary_says_what_the_selection_is_worth(selection):
    summary = selection.summary
    assert summary["coverage_curve"][-1] == (30, summary["coverage"])
    labels, random = zip(*summary["random_curve"], strict=True)
    assert labels[0] == 0
    assert max(labels) >= 30
    assert random[0] == summary["coverage_curve"][0][1]  # both begin with what the labeled samples cover
    assert 0 < summary["knee"] < 30
    left = 1 - summary["coverage_random"]
    assert summary["gain_over_random"] == pytest.approx((summary["coverage"] - summary["coverage_random"]) / left)
    assert (summary["num_duplicates"], summary["num_rejected"]) == (0, 0)
    assert summary["num_swaps"] > 0
    assert 0 < summary["swap_gain"] < 0.2
    assert "total_cost" not in summary
    assert selection.table["cost"].null_count == 30


def test_costs_are_told(pool):
    costs = np.random.default_rng(0).choice([0.5, 2.0], 600)
    selection = select_pairs(pool.a_ND, pool.v_ND, 20.0, costs=costs)
    assert selection.table["cost"].to_pylist() == [costs[int(i)] for i in selection.sample_ids]
    assert selection.summary["total_cost"] == pytest.approx(costs[np.array(selection.sample_ids, int)].sum())
    assert selection.summary["budget"] == len(selection.sample_ids)


def test_what_was_asked_for_is_told(pool):
    config = SelectSpec(include=("5", "6"), exclude=("9",))
    selection = select_pairs(pool.a_ND, pool.v_ND, 10, config=config)
    asked = {r["sample_id"] for r in selection.table.to_pylist() if "asked for (select.include)" in r["reason"]}
    assert asked == {"5", "6"}
    assert "9" not in selection.sample_ids


def test_duplicates_come_last_and_are_told(pool):
    a_ND, v_ND = np.repeat(pool.a_ND[:20], 2, axis=0), np.repeat(pool.v_ND[:20], 2, axis=0)
    selection = select_pairs(a_ND, v_ND, 25)
    rows = selection.table.to_pylist()
    assert len({int(r["sample_id"]) // 2 for r in rows[:20]}) == 20
    assert selection.summary["num_duplicates"] == 5
    assert all("near-duplicate of" in r["reason"] and "nothing else was left" in r["reason"] for r in rows[20:])


def test_bad_rows_become_rejects(pool):
    a_ND, v_ND = pool.a_ND[:50].copy(), pool.v_ND[:50].copy()
    a_ND[3], v_ND[4], a_ND[5], v_ND[5] = np.nan, 0, np.inf, 0
    no_N = np.zeros(50, bool)
    missing = (np.arange(50) == 6, no_N)
    ids = pa.array([f"s{i}" for i in range(50)])
    shard = Shard("part-0", ids, a_ND, v_ND, salt_of(0), ("audio", "video"), missing)
    request = request_of(SelectSpec(budget=46, bad_rows="reject"), None, None, 0)
    selection = select(LocalRunner([shard]), request, seed=0)
    assert selection.rejects.schema == REJECT
    found = {(r["sample_id"], r["stage"], r["reason"]) for r in selection.rejects.to_pylist()}
    assert {
        ("s3", "select", "not_finite"), ("s4", "select", "zero_vector"), ("s5", "select", "not_finite"),
        ("s6", "select", "missing_modality"),
    } <= found  # fmt: skip
    assert {i for i, _, _ in found} == {"s3", "s4", "s5", "s6"}
    assert sorted(selection.sample_ids) == sorted(f"s{i}" for i in range(50) if i not in (3, 4, 5, 6))
    assert selection.summary["num_pool"] == 46
    assert selection.summary["num_rejected"] == 4
    assert any("audio has NaN or infinite values in part-0" in r["detail"] for r in selection.rejects.to_pylist())
