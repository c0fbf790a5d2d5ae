import re
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.selection import CANDIDATE, SELECTION
from mmcsal.selection import SelectSpec, select_pairs
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.display import MAX_CELL_CHARS, NUM_SHOWN, SHOWN
from mmcsal.selection.pipeline import select
from mmcsal.selection.runner import LocalRunner
from mmcsal.selection.scaleout.shard import Shard
from mmcsal.selection.spec import Rho


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


@pytest.fixture(scope="module")
def mixed(pool):
    config = SelectSpec(coverage=Rho(rho=0.5), modality_weights={"video": 3, "audio": 1})
    return select_pairs(pool.a_ND, pool.v_ND, 30, config=config, modalities=("video", "audio"))


def test_each_part_of_a_mixed_coverage_is_told(mixed):
    parts, rows = mixed.summary["parts"], mixed.table.to_pylist()
    assert [part["weight"] for part in parts.values()] == [0.5, 0.375, 0.125]
    assert list(parts) == ["joint", "video", "audio"]
    mean = sum(part["weight"] * part["coverage"] for part in parts.values())
    assert mixed.summary["coverage"] == pytest.approx(mean)
    assert mixed.table["mass"].to_numpy().sum() == pytest.approx(600)  # every row once, whichever part
    numbers = [
        re.search(r"Stands for (.+?) in both modalities, (.+?) by its picture, (.+?) by its sound", row["reason"])
        for row in rows
    ]
    counts = np.array([[1 if n == "itself alone" else int(n.split()[0]) for n in found.groups()] for found in numbers])
    np.testing.assert_allclose(counts @ [0.5, 0.375, 0.125], mixed.table["mass"].to_numpy(), atol=0.5)
    assert len({tuple(row) for row in counts.tolist()}) > 10


def test_a_row_may_be_represented_by_one_pick_in_one_modality_and_another_in_the_other(mixed):
    table, picked = mixed.represented, set(mixed.sample_ids)
    kernels = np.array([table[f"kernel_{name}"].to_numpy() for name in ("joint", "video", "audio")])
    assert np.array_equal(table["kernel"].to_numpy(), kernels.max(axis=0))
    by = np.array([table[f"represented_by_{name}"].to_pylist() for name in ("joint", "video", "audio")])
    assert set(by.ravel().tolist()) <= picked
    assert (by[1] != by[2]).any()
    closest = by[kernels.argmax(axis=0), np.arange(600)]
    assert table["represented_by"].to_pylist() == closest.tolist()
    assert "was not selected" in mixed.explain(next(i for i in map(str, range(600)) if i not in picked))


def test_one_modality_alone_stands_for_what_it_covers(pool):
    config = SelectSpec(coverage="separate", modality_weights={"a": 0, "v": 1}, lambda_align=0)
    alone = select_pairs(pool.a_ND, pool.v_ND, 30, config=config)
    twice = select_pairs(
        pool.v_ND, pool.v_ND, 30, config=SelectSpec(lambda_align=0)
    )  # the joint embedding is that view
    assert list(alone.summary["parts"]) == ["v"]
    assert alone.summary["coverage"] == pytest.approx(twice.summary["coverage"], abs=0.002)
    assert "Stands for" in alone.table["reason"][0].as_py()


@pytest.mark.parametrize("wrong", [{"a": 1}, {"a": 1, "b": 1}, {"a": 0, "v": 0}])
def test_weights_of_other_modalities_are_told(pool, wrong):
    with pytest.raises(InputError, match=r"select.modality_weights: .*expected a number for each of a, v, one above 0"):
        select_pairs(pool.a_ND, pool.v_ND, 3, config=SelectSpec(coverage="separate", modality_weights=wrong))


def test_all_shared_is_the_joint_coverage(selection, pool):
    config = SelectSpec(coverage=Rho(rho=1))
    assert select_pairs(pool.a_ND, pool.v_ND, 30, labeled=["7", "8"], config=config).table.equals(selection.table)


def test_unrelated_modalities_are_covered_by_half_apart_and_alignment_does_not_steer():
    rng = np.random.default_rng(0)
    views_ND, config = rng.normal(size=(2, 500, 8)), SelectSpec(coverage="auto")
    unrelated = select_pairs(*views_ND, 20, config=config).summary
    weights = {name: part["weight"] for name, part in unrelated["parts"].items()}
    assert weights == {"joint": 0.5, "a": 0.25, "v": 0.25}
    assert unrelated["applied_lambda_align"] == 0
    assert list(select_pairs(views_ND[0], views_ND[0], 20, config=config).summary["parts"]) == ["joint"]


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


@pytest.mark.parametrize("wrong", [7.0, None, b"7", True, ["7"], np.float64(7), np.True_])
def test_an_id_of_a_wrong_type_is_told(selection, wrong):
    with pytest.raises(InputError, match=r"explain: .* is of type .*; expected an id, a string or an integer"):
        selection.explain(wrong)


@pytest.mark.parametrize("kind", [int, np.int32, np.uint64, str, np.str_])
def test_an_integer_asks_for_its_decimal_digits(selection, kind):
    assert selection.explain(kind(7)) == selection.explain("7")


def test_a_selection_shows_itself_in_a_line(selection, pool):
    covered, at_random = (selection.summary[key] for key in ("coverage", "coverage_random"))
    assert repr(selection) == (
        "<Selection of 30 of 600 samples by mmcsal, 2 labeled before: "
        f"covers {covered:.3f} of the pool, random picks {at_random:.3f}>"
    )
    assert covered > at_random
    assert "labeled before" not in repr(select_pairs(pool.a_ND, pool.v_ND, 3))


class _Cells(HTMLParser):
    """The texts of a table's cells, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags[-1] in ("td", "th"):
            self.cells.append(data)


def test_a_notebook_shows_the_first_ranks(selection):
    shown = _Cells(selection._repr_html_())
    rows = [shown.cells[i : i + len(SHOWN)] for i in range(0, len(shown.cells), len(SHOWN))]
    assert rows[0] == list(SHOWN)
    assert [row[1] for row in rows[1:]] == selection.sample_ids[:NUM_SHOWN]
    assert "and 20 more" in selection._repr_html_()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=3, max_size=3, unique=True))
def test_a_notebook_shows_ids_as_they_are(ids):
    """Whatever an id holds, `<script>` or `&lt;`, is text: no tag of it is a tag of the page."""
    ids = [f"<script>{i}&lt;" for i in ids]
    batch = select_pairs(np.eye(3), np.eye(3), 3, sample_ids=ids)
    shown = _Cells(batch._repr_html_())
    assert "script" not in shown.tags
    assert {shown.cells[len(SHOWN) * row + 1] for row in (1, 2, 3)} == {_cut(i) for i in ids}
    assert "more" not in batch._repr_html_()


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS - 1]}…"


def test_a_data_frame_holds_the_table(selection):
    frame = selection.to_pandas()
    assert list(frame["sample_id"]) == selection.sample_ids
    assert pa.Table.from_pandas(frame, SELECTION, preserve_index=False).equals(selection.table)


def test_without_pandas_its_extra_is_named(selection, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mmcsal\[notebook\]'"):
        selection.to_pandas()


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
