import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.candidate import CANDIDATE
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.selection import SELECTION
from mmcsal.selection import select_pairs


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
