from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.contracts.ids import places_of_hashes
from mmcsal.selection import MmcsalSpec, SelectSpec
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.numerics.kernel import kernel_block, square_distances
from mmcsal.selection.objective.terms import discounted
from mmcsal.selection.planning import make_plan
from mmcsal.selection.runner import LocalRunner
from mmcsal.selection.scaleout import neighbors
from mmcsal.selection.scaleout.buckets import Bucket, join, route
from mmcsal.selection.scaleout.neighbors import (
    INSERT_UP_TO,
    closest,
    closest_in_cells,
    find_neighbors,
    num_neighbors,
    shortlist_of,
)
from mmcsal.selection.scaleout.request import make_pool
from mmcsal.selection.scaleout.shard import Shard

NUM_ROWS = 600


@pytest.fixture(scope="module")
def pool(views):
    return views(NUM_ROWS, seed=5, misaligned=0.2)


def planned(pool, **settings):
    """The plan of many cells, and the one bucket of all rows."""
    spec = SelectSpec(budget=20, strategy=MmcsalSpec(max_cell_size=64), scale_by_confidence=False, **settings)
    ids = pa.array([f"{i:04}" for i in range(NUM_ROWS)])
    runner = LocalRunner([Shard("pool", ids, pool.a_ND, pool.v_ND, salt_of(0), ("a", "v"))])
    summaries = runner.prepare("error")
    request = request_of(spec, None, None, 0)
    pool_of_request = make_pool(request, np.sort(summaries[0].hash_N))
    plan = make_plan(runner, request, pool_of_request, summaries[0], seed=0).plan
    return plan, join([Bucket.concat(buckets) for buckets in runner.over_shards(route, plan)])


def closest_of(bucket, shortlist, plan, kept, compared):
    place_N = places_of_hashes(bucket.hash_N, shortlist.hash_C)
    return closest_in_cells(bucket.joint_ND, bucket.cell_N, place_N, shortlist, plan, kept, compared)


def candidates_of(bucket, num_candidates):
    return shortlist_of(bucket.take(np.sort(np.random.default_rng(0).permutation(NUM_ROWS)[:num_candidates])))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 2 * INSERT_UP_TO), st.sampled_from([2, 60, 2000]))
def test_the_closest_are_those_of_a_stable_sort(seed, kept, spread):
    rng = np.random.default_rng(seed)  # few values: many ties
    x_AD, y_BD = (rng.integers(-spread, spread + 1, (n, 3)).astype(np.int16) for n in (7, kept + seed % 40))
    distance_AB = square_distances(x_AD, y_BD)
    expected = np.argsort(distance_AB, axis=1, kind="stable")[:, :kept]
    place_AJ, distance_AJ = closest(x_AD, y_BD, kept)
    assert place_AJ.tolist() == expected.tolist()
    assert distance_AJ.tolist() == np.take_along_axis(distance_AB, expected, axis=1).tolist()


def test_all_neighbors_are_the_kernel_to_all_candidates(pool):
    plan, bucket = planned(pool)
    shortlist = candidates_of(bucket, 100)
    found = find_neighbors(bucket, shortlist, plan, plan.scope.solve_limit, NUM_ROWS)
    index_NJ, kernel_NJ = found.index_NUJ[:, 0], found.kernel_NUJ[:, 0]
    assert found.index_NUJ.shape == (NUM_ROWS, 1, 100)
    assert np.array_equal(np.sort(index_NJ, axis=1), np.tile(np.arange(100), (NUM_ROWS, 1)))
    kernel_NC = kernel_block(bucket.joint_ND, shortlist.joint_CD, plan.kernel)
    assert np.array_equal(kernel_NJ, np.take_along_axis(kernel_NC, index_NJ.astype(int), axis=1))
    assert np.all(np.diff(kernel_NJ.astype(int), axis=1) <= 0)


def test_few_neighbors_are_the_closest_candidates_of_any_cell(pool):
    plan, bucket = planned(pool)
    shortlist = candidates_of(bucket, 300)
    (index_NJ, kernel_NJ), kept = (x_NUJ[:, 0] for x_NUJ in closest_of(bucket, shortlist, plan, 80, 160)), 80
    assert index_NJ.shape[1] == kept
    kernel_NC = np.sort(kernel_block(bucket.joint_ND, shortlist.joint_CD, plan.kernel), axis=1)[:, ::-1][:, :kept]
    assert (kernel_NJ[:, :16] == kernel_NC[:, :16]).mean() > 0.97  # of half the candidates few closest are missed
    cell_of_hash = dict(zip(bucket.hash_N.tolist(), bucket.cell_N.tolist(), strict=True))
    cell_C = np.array([cell_of_hash[h] for h in shortlist.hash_C.tolist()])
    assert len(np.unique(bucket.cell_N)) > 5
    assert (cell_C[index_NJ[:, :8]] != bucket.cell_N[:, None]).mean() > 0.1  # across the borders


def test_a_row_keeps_all_candidates_or_enough_of_them(pool, monkeypatch):
    plan, _ = planned(pool)
    assert num_neighbors(plan, 300, NUM_ROWS) == 300
    monkeypatch.setattr(neighbors, "MAX_COMPLETE_PAIRS", 0)
    assert num_neighbors(plan, 300, NUM_ROWS) == 300  # few rows
    monkeypatch.setattr(neighbors, "MIN_NEIGHBOR_PAIRS", 0)
    assert num_neighbors(plan, 300, NUM_ROWS) == 80  # a third of 16 for each of 300 candidates / 20 picks
    assert num_neighbors(plan, 60, NUM_ROWS) == 16
    assert num_neighbors(plan, 10, NUM_ROWS) == 10


def test_a_candidate_keeps_itself(pool):
    plan, bucket = planned(pool)
    shortlist = candidates_of(bucket, 300)
    index_NJ = closest_of(bucket, shortlist, plan, 1, 1)[0][:, 0]
    own = np.searchsorted(shortlist.ids.to_numpy(zero_copy_only=False), bucket.ids.to_numpy(zero_copy_only=False))
    own = np.minimum(own, 299)
    is_candidate_N = shortlist.hash_C[own] == bucket.hash_N
    assert is_candidate_N.sum() == 300
    assert np.array_equal(index_NJ[is_candidate_N, 0], own[is_candidate_N])


def test_a_discount_scales_the_kernel_of_a_candidate(pool):
    plan, bucket = planned(pool, align_form="discount")
    shortlist = candidates_of(bucket, 100)
    found = find_neighbors(bucket, shortlist, plan, plan.scope.solve_limit, NUM_ROWS)
    index_NJ, kernel_NJ = found.index_NUJ[:, 0], found.kernel_NUJ[:, 0]
    share_C = plan.objective.discount(shortlist.score_C)
    assert share_C is not None
    assert (share_C < 65535).any()
    kernel_NC = kernel_block(bucket.joint_ND, shortlist.joint_CD, plan.kernel).astype(np.int64) * share_C // 65535
    assert np.array_equal(kernel_NJ, np.take_along_axis(kernel_NC, index_NJ.astype(int), axis=1))
    assert np.all(np.diff(kernel_NJ.astype(int), axis=1) <= 0)
    assert discounted(kernel_NJ, None) is kernel_NJ


def test_only_rows_up_to_the_limit_have_neighbors_and_those_that_must_be_picked(pool):
    plan, bucket = planned(pool)
    limit = int(np.sort(bucket.hash_N)[99])
    shortlist = candidates_of(bucket, 50)
    assert len(find_neighbors(bucket, shortlist, plan, limit, 100).hash_N) == 100
    forced = replace(plan, wanted_hash=np.sort(bucket.hash_N)[[5, 300]])
    assert len(find_neighbors(bucket, shortlist, forced, limit, 100).hash_N) == 101
