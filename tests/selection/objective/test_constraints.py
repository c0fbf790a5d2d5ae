import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal import select_pairs
from mmcsal.contracts.errors import InputError
from mmcsal.selection import MmcsalSpec, SelectSpec
from mmcsal.selection.objective.constraints import UNLIMITED, Attributes, check_quotas, quota_codes
from mmcsal.selection.spec import Quota
from mmcsal.selection.strategies import ColdStart
from tests.selection.problems import quick_specs

STRATEGIES = {"many cells": MmcsalSpec(max_cell_size=64), **quick_specs(ColdStart)}
QUOTAS = [("source", "x"), ("source", "y"), ("speaker", "a")]
NUM_ROWS = 160


@pytest.fixture(scope="module")
def pool(views):
    return views(NUM_ROWS, seed=3, misaligned=0.1)


def test_codes_number_the_quotas_by_column():
    columns = {"source": np.array(["x", "y", None, "z"], object), "speaker": np.array(["a", "b", "a", None], object)}
    assert quota_codes(QUOTAS, columns, 4).tolist() == [[0, 2], [1, -1], [-1, 2], [-1, -1]]
    assert quota_codes([], {}, 4).shape == (4, 0)


def test_attributes_follow_the_hashes():
    hash_N = np.array([3, 7, 9], np.uint64)
    given = Attributes(hash_N, np.array([1.0, 2.0, 4.0]), np.array([5, 0, 6]), np.array([[0], [-1], [1]], np.int32))
    some = np.array([9, 3], np.uint64)
    assert given.costs(some).tolist() == [4.0, 1.0]
    assert given.weights(some).tolist() == [6, 5]
    assert given.codes(some).tolist() == [[1], [0]]
    none = Attributes(hash_N, None, None, np.zeros((3, 0), np.int32))
    assert (none.costs(some).tolist(), none.weights(some).tolist(), none.codes(some).shape) == ([1, 1], [1, 1], (2, 0))


def is_refused(min_x, max_x, min_y, max_y, *, num_picks, forced=(), closed=()):
    """Whether `check_quotas` refuses quotas of three rows x, two y, one of neither."""
    code_NQ = np.array([[0], [0], [0], [1], [1], [-1]], np.int32)
    is_forced_N, is_open_N = np.isin(np.arange(6), forced), ~np.isin(np.arange(6), closed)
    limits = np.array([min_x, min_y]), np.array([max_x, max_y])
    try:
        check_quotas(QUOTAS[:2], *limits, code_NQ, is_open_N, is_forced_N, num_picks, is_count=True)
    except InputError:
        return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_of_one_column_all_that_no_batch_can_keep_is_refused_and_nothing_else(data):
    mins = [data.draw(st.integers(0, 4)) for _ in range(2)]
    maxs = [data.draw(st.integers(least, 4) | st.just(UNLIMITED)) for least in mins]
    closed = data.draw(st.sets(st.integers(0, 5), max_size=2))
    rest = sorted(set(range(6)) - closed)
    num_picks = data.draw(st.integers(1, len(rest)))
    forced = data.draw(st.sets(st.sampled_from(rest), max_size=num_picks))
    group, found = np.array([0, 0, 0, 1, 1, 2]), False
    for bits in range(2**6):  # all batches
        batch = {n for n in range(6) if bits >> n & 1}
        counts = np.bincount(group[list(batch)].astype(int), minlength=3)
        fits = all(mins[g] <= counts[g] <= maxs[g] for g in range(2))
        found |= len(batch) == num_picks and forced <= batch <= set(rest) and fits
    refused = is_refused(
        mins[0], maxs[0], mins[1], maxs[1], num_picks=num_picks, forced=list(forced), closed=list(closed)
    )
    assert refused != found


def batches_of(pool, columns, *, quotas, strategy, budget, costs=None, **given):
    spec = SelectSpec(quotas=quotas, strategy=STRATEGIES[strategy], num_anchors=64, **given)
    selection = select_pairs(pool.a_ND, pool.v_ND, budget, columns=columns, costs=costs, config=spec)
    return [int(i) for i in selection.sample_ids]


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_limits_are_kept(pool, strategy, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    budget = data.draw(st.integers(4, 30))
    columns = {
        "source": rng.choice(["x", "y", "z"], NUM_ROWS, p=[0.9, 0.05, 0.05]).tolist(),
        "speaker": rng.choice(["a", "b"], NUM_ROWS, p=[0.2, 0.8]).tolist(),
    }
    min_y, min_a = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    max_x, max_a = data.draw(st.integers(budget - 3, budget)), data.draw(st.integers(2, 5))
    quotas = (
        Quota(column="source", value="x", max=max_x),
        Quota(column="source", value="y", min=min_y),
        Quota(column="speaker", value="a", min=min_a, max=max_a),
    )
    include, exclude, labeled = (tuple(map(str, part)) for part in np.split(rng.permutation(NUM_ROWS)[:12], [1, 6]))
    picks = batches_of(
        pool,
        columns,
        quotas=quotas,
        strategy=strategy,
        budget=budget,
        include=include,
        exclude=exclude,
        labeled=labeled,
    )
    source, speaker = ([columns[name][i] for i in picks] for name in columns)
    assert len(set(picks)) == budget
    assert source.count("x") <= max_x
    assert source.count("y") >= min_y
    assert min_a <= speaker.count("a") <= max_a
    assert set(map(int, include)) <= set(picks)
    assert not set(map(int, (*exclude, *labeled))) & set(picks)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=5, deadline=None)
@given(st.data())
def test_a_total_cost_is_kept_and_spent(pool, strategy, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    costs = rng.choice([0.1, 0.7, 1.3, 9.0], NUM_ROWS)
    budget = data.draw(st.sampled_from([0.3, 5.0, 12.5]))
    columns = {"speaker": rng.choice(["a", "b"], NUM_ROWS).tolist()}
    quotas = (Quota(column="speaker", value="a", max=2),)
    picks = batches_of(pool, columns, quotas=quotas, strategy=strategy, budget=budget, costs=costs)
    spent = costs[picks].sum()
    assert spent <= budget * (1 + 1e-9)
    assert [columns["speaker"][i] for i in picks].count("a") <= 2
    others = [i for i in range(NUM_ROWS) if i not in picks and columns["speaker"][i] == "b"]
    assert min(costs[others]) > budget - spent  # nothing more can be bought


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_least_number_of_duplicates_is_kept(pool, strategy):
    a_ND, v_ND = pool.a_ND.copy(), pool.v_ND.copy()
    a_ND[1:4], v_ND[1:4] = a_ND[0], v_ND[0]
    columns = {"speaker": ["b", "a", "a", "a", *["b"] * (NUM_ROWS - 4)]}
    spec = SelectSpec(
        quotas=(Quota(column="speaker", value="a", min=2),), strategy=STRATEGIES[strategy], num_anchors=64
    )  # fmt: skip
    selection = select_pairs(a_ND, v_ND, 6, columns=columns, labeled=["0"], config=spec)
    assert len(set(selection.sample_ids)) == 6
    assert len(set(selection.sample_ids) & {"1", "2", "3"}) == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_limits_of_two_columns_that_clash_are_told(pool, strategy):
    columns = {"source": ["x"] * 3 + ["z"] * (NUM_ROWS - 3), "speaker": ["a"] * 3 + ["b"] * (NUM_ROWS - 3)}
    quotas = (Quota(column="source", value="x", min=2), Quota(column="speaker", value="a", max=1))
    with pytest.raises(InputError, match="cannot be spent within all limits: 5 samples fit, unmet: source='x'; relax"):
        batches_of(pool, columns, quotas=quotas, strategy=strategy, budget=5)
