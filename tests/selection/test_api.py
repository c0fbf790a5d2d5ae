import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal import select_pairs
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection import MmcsalSpec, Quota, SelectSpec


@pytest.fixture(scope="module")
def pool(views):
    return views(800, seed=1, misaligned=0.1)


def test_it_works_without_ray():
    code = "import sys; from mmcsal import select_pairs; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([100, 8192]))
def test_row_order_does_not_matter(views, seed, max_cell_size):
    pool = views(500, seed=1, misaligned=0.1)
    ids, config = (
        np.array([f"clip-{i}" for i in range(500)]),
        SelectSpec(strategy=MmcsalSpec(max_cell_size=max_cell_size), num_anchors=200),
    )
    order = np.random.default_rng(seed).permutation(500)
    first = select_pairs(pool.a_ND, pool.v_ND, 25, sample_ids=ids, labeled=["clip-3"], config=config)
    other = select_pairs(
        pool.a_ND[order], pool.v_ND[order], 25, sample_ids=ids[order], labeled=["clip-3"], config=config
    )
    assert first.table.equals(other.table)
    assert first.candidates.equals(other.candidates)
    assert first.represented.equals(other.represented)
    assert first.summary == other.summary


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60), st.data())
def test_exactly_the_budget_of_unlabeled_rows(views, num_rows, data):
    pool = views(num_rows, seed=num_rows)
    labeled = data.draw(st.sets(st.integers(0, num_rows - 1), max_size=num_rows - 1))
    budget = data.draw(st.integers(1, num_rows - len(labeled)))
    spec = SelectSpec(
        lambda_div=data.draw(st.sampled_from([0.0, 0.5])), strategy=MmcsalSpec(max_cell_size=16, max_rows_per_pick=16)
    )
    selection = select_pairs(pool.a_ND, pool.v_ND, budget, labeled=map(str, labeled), config=spec)
    assert len(selection.sample_ids) == len(set(selection.sample_ids)) == budget
    assert not {int(i) for i in selection.sample_ids} & labeled


def test_labels_change_what_is_worth_labeling(pool):
    first = select_pairs(pool.a_ND, pool.v_ND, 20)
    again = select_pairs(pool.a_ND, pool.v_ND, 20, labeled=first.sample_ids)
    assert not set(first.sample_ids) & set(again.sample_ids)
    assert again.table["gain"][0].as_py() < first.table["gain"][0].as_py()


def test_misaligned_pairs_are_picked_less(views):
    pool = views(1500, seed=6, misaligned=0.2)
    shares = []
    for lambda_align in (0.0, 0.25):
        selection = select_pairs(pool.a_ND, pool.v_ND, 0.2, config=SelectSpec(lambda_align=lambda_align))
        shares.append(pool.is_misaligned_N[np.array(selection.sample_ids, int)].mean())
    assert shares[1] < 0.6 * shares[0]


def test_unrelated_modalities_do_not_steer():
    rng = np.random.default_rng(0)
    a_ND, v_ND = rng.normal(size=(500, 8)), rng.normal(size=(500, 8))
    selection = select_pairs(a_ND, v_ND, 20)
    assert selection.summary["applied_lambda_align"] == 0
    assert selection.sample_ids == select_pairs(a_ND, v_ND, 20, config=SelectSpec(lambda_align=0)).sample_ids


def test_diversity_lowers_redundancy(pool):
    plain, diverse = (
        select_pairs(pool.a_ND, pool.v_ND, 100, config=SelectSpec(lambda_div=x)).summary for x in (0.0, 0.5)
    )
    assert diverse["redundancy"] < plain["redundancy"]


def test_the_selection_covers_more_than_random(pool):
    summary = select_pairs(pool.a_ND, pool.v_ND, 40).summary
    assert summary["random_equivalent_budget"] > 60


def test_another_seed_samples_other_anchors(views):
    pool = views(1500, seed=6, misaligned=0.2)
    spec = SelectSpec(num_anchors=64)
    separations = {select_pairs(pool.a_ND, pool.v_ND, 5, config=spec, seed=s).summary["separation"] for s in range(3)}
    assert len(separations) == 3


@pytest.mark.parametrize(("num_rows", "budget"), [(1, 1), (2, 1), (2, 2), (9, 9), (50, 20)])
def test_equal_rows_are_picked_in_the_order_of_their_ids(num_rows, budget):
    x_ND, ids = np.ones((num_rows, 3)), [f"{i:02}" for i in range(num_rows)]
    selection = select_pairs(x_ND, x_ND, budget, sample_ids=ids)
    assert selection.sample_ids == ids[:budget]
    assert selection.summary["coverage"] == 1


def test_a_large_pool_of_equal_rows_is_cut():
    x_ND = np.ones((200, 3))
    selection = select_pairs(x_ND, x_ND, 50, config=SelectSpec(strategy=MmcsalSpec(max_cell_size=64)))
    assert len(set(selection.sample_ids)) == 50


def test_all_rows_can_be_selected(pool):
    selection = select_pairs(pool.a_ND, pool.v_ND, 800, config=SelectSpec(strategy=MmcsalSpec(max_cell_size=128)))
    assert sorted(selection.sample_ids) == sorted(map(str, range(800)))


def test_lengths_of_vectors_do_not_matter(pool):
    scaled = select_pairs(pool.a_ND * np.float32(4), pool.v_ND * np.float32(0.125), 20)
    assert scaled.table.equals(select_pairs(pool.a_ND, pool.v_ND, 20).table)


def bad(x_ND, row, value):
    changed = x_ND.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"budget": 0}, InputError, "budget: 0"),
        ({"budget": 801}, InputError, "801 samples, but only 800 of 800"),
        ({"budget": 800, "labeled": ["5"]}, InputError, r"only 799 of 800 rows may be selected \(1 are labeled\)"),
        ({"budget": 1.0}, InputError, "budget: 1.0"),
        ({"labeled": ["5", "nowhere"]}, InputError, "1 of 2 ids .*'nowhere'"),
        ({"costs": np.ones(3)}, InputError, "cost: 3 values for 800 rows"),
        ({"sample_ids": ["a"]}, InputError, "1 ids for 800 rows"),
        ({"sample_ids": ["a", "b"] * 400}, TableError, "2 sample_ids occur more than once"),
        ({"sample_ids": list(range(800))}, InputError, "expected strings"),
    ],
)
def test_wrong_arguments_are_told(pool, arguments, kind, message):
    with pytest.raises(kind, match=message):
        select_pairs(pool.a_ND, pool.v_ND, **{"budget": 10, **arguments})


def test_wrong_vectors_are_told(pool):
    a_ND, v_ND = pool.a_ND, pool.v_ND
    with pytest.raises(TableError, match=r"1 of 800 rows have a zero vector.*'v_ND'.*\['17'\]"):
        select_pairs(a_ND, bad(v_ND, 17, 0), 5)
    with pytest.raises(TableError, match=r"1 of 800 rows have NaN.*'a_ND'.*\['3'\]"):
        select_pairs(bad(a_ND, 3, np.nan), v_ND, 5)
    with pytest.raises(InputError, match="v_ND: 799 rows, but a_ND has 800"):
        select_pairs(a_ND, v_ND[1:], 5)
    with pytest.raises(InputError, match="expected numbers of shape"):
        select_pairs(a_ND[0], v_ND, 5)


def test_ids_repeated_far_apart_are_told(pool, monkeypatch):
    monkeypatch.setattr("mmcsal.selection.api.MAX_SHARD_ROWS", 300)
    ids = [str(i) for i in range(799)] + ["2"]
    with pytest.raises(TableError, match=r"1 sample_ids occur in more than one place, first \['2'\]"):
        select_pairs(pool.a_ND, pool.v_ND, 5, sample_ids=ids)


def test_labeled_rows_are_never_picked_even_as_equals():
    x_ND, ids = np.ones((6, 3)), list("abcdef")
    selection = select_pairs(x_ND, x_ND, 3, sample_ids=ids, labeled=["a", "c"])
    assert selection.sample_ids == ["b", "d", "e"]
    assert selection.table["gain"].to_pylist() == [0, 0, 0]  # all is covered already


def test_labeled_rows_cover_their_twins(pool):
    a_ND, v_ND = np.tile(pool.a_ND[:300], (2, 1)), np.tile(pool.v_ND[:300], (2, 1))
    for max_cell_size in (8192, 100):
        spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=max_cell_size), lambda_align=0)
        first = select_pairs(a_ND, v_ND, 20, config=spec)
        again = select_pairs(a_ND, v_ND, 20, labeled=first.sample_ids, config=spec)
        assert not {int(i) % 300 for i in first.sample_ids} & {int(i) % 300 for i in again.sample_ids}


def test_of_equal_picks_each_represents_itself():
    x_ND = np.ones((5, 3))
    rows = select_pairs(x_ND, x_ND, 3).represented.to_pylist()
    assert [row["represented_by"] for row in rows] == ["0", "1", "2", "0", "0"]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_names_of_ids_matter_only_through_their_order(views, seed):
    """Where every sample is the whole pool. Hashes still order the swaps, so it holds without them."""
    pool, rng = views(300, seed=1, misaligned=0.1), np.random.default_rng(seed)
    spec = SelectSpec(strategy=MmcsalSpec(max_swap_passes=0))
    numbers = np.sort(rng.choice(10**6, 300, replace=False))
    names = [[f"{i:03}" for i in range(300)], [f"clip-{i:07}" for i in numbers]]
    first, other = (select_pairs(pool.a_ND, pool.v_ND, 20, sample_ids=n, config=spec).sample_ids for n in names)
    assert [names[0].index(i) for i in first] == [names[1].index(i) for i in other]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([64, 8192]))
def test_near_duplicates_are_never_both_picked_while_others_are_left(views, seed, max_cell_size):
    pool, rng = views(150, seed=seed % 7), np.random.default_rng(seed)
    copies = rng.integers(0, 150, 60)
    a_ND, v_ND = (np.concatenate([x, x[copies] * (1 + 1e-4)]) for x in (pool.a_ND, pool.v_ND))
    spec = SelectSpec(strategy=MmcsalSpec(max_cell_size=max_cell_size), num_anchors=64)
    summary = select_pairs(a_ND, v_ND, 50, config=spec).summary
    assert summary["num_duplicates"] == 0


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_include_and_exclude_are_kept(views, data):
    pool, rows = views(120, seed=2), st.integers(0, 119)
    include, exclude, labeled = (data.draw(st.sets(rows, max_size=10)) for _ in range(3))
    exclude, labeled = exclude - include, labeled - include - exclude
    spec = SelectSpec(
        include=tuple(map(str, include)), exclude=tuple(map(str, exclude)), num_anchors=64,
        lambda_div=data.draw(st.sampled_from([0.0, 0.5])),
        strategy=MmcsalSpec(max_cell_size=data.draw(st.sampled_from([32, 8192]))),
    )  # fmt: skip
    budget = max(len(include), 1) + data.draw(st.integers(0, 10))
    picks = {
        int(i) for i in select_pairs(pool.a_ND, pool.v_ND, budget, labeled=map(str, labeled), config=spec).sample_ids
    }
    assert len(picks) == budget
    assert include <= picks
    assert not picks & (exclude | labeled)


def test_include_is_kept_in_pools_of_very_many_rows_a_pick(views):
    pool, include = views(2000, seed=1), tuple(map(str, range(8)))
    spec = SelectSpec(include=include, strategy=MmcsalSpec(max_rows_per_pick=16))
    selection = select_pairs(pool.a_ND, pool.v_ND, 10, config=spec)
    assert len(selection.sample_ids) == 10
    assert set(include) <= set(selection.sample_ids)


def test_least_numbers_are_kept_in_pools_of_very_many_rows_a_pick(views):
    pool, columns = views(2000, seed=1), {"source": ["rare"] * 4 + ["common"] * 1996}
    spec = SelectSpec(
        quotas=(Quota(column="source", value="rare", min=3),), strategy=MmcsalSpec(max_rows_per_pick=16)
    )  # fmt: skip
    selection = select_pairs(pool.a_ND, pool.v_ND, 10, columns=columns, config=spec)
    assert len(selection.sample_ids) == 10
    assert len(set(selection.sample_ids) & set("0123")) >= 3
