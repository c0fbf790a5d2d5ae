import numpy as np
import pytest

from mmcsal.selection.numerics.bandwidth import merge_bandwidth, nearest_references, neighbour_rank, sample_sizes
from mmcsal.selection.numerics.quantize import UNIT, quantize_joint


@pytest.mark.parametrize(
    ("num_pool", "num_covering", "rank"),
    [(1000, 10, 100), (1000, 900, 3), (1000, 2, 250), (8, 1, 2), (2, 1, 1), (1, 1, 1)],
)
def test_the_rank_is_the_share_of_a_pick(num_pool, num_covering, rank):
    assert neighbour_rank(num_pool, num_covering) == rank


def joint_and_hash(views, num_rows):
    pool = views(num_rows, seed=3)
    joint_ND = quantize_joint(pool.a_ND, pool.v_ND)
    return joint_ND, np.sort(np.random.default_rng(0).integers(0, 2**63, num_rows).astype(np.uint64))


@pytest.mark.parametrize("rank", [3, 20, 200])
def test_the_sampled_bandwidth_is_near_the_exact_one(views, rank):
    joint_ND, hash_N = joint_and_hash(views, 4000)
    num_queries, num_references, reference_rank = sample_sizes(4000, rank)
    found = nearest_references(
        joint_ND[:num_references], hash_N[:num_references], joint_ND[:num_queries], hash_N[:num_queries], reference_rank
    )
    unit_ND = joint_ND / UNIT
    exact = np.mean(1 - np.sort(unit_ND @ unit_ND.T, axis=1)[:, -1 - rank])
    assert merge_bandwidth([found], reference_rank) / UNIT**2 == pytest.approx(exact, rel=0.05)


def test_any_split_of_the_references_gives_the_same(views):
    joint_ND, hash_N = joint_and_hash(views, 3000)
    queries = (joint_ND[:100], hash_N[:100])
    whole = merge_bandwidth([nearest_references(joint_ND, hash_N, *queries, 17)], 17)
    order = np.random.default_rng(1).permutation(3000)
    parts = [nearest_references(joint_ND[p], hash_N[p], *queries, 17) for p in np.array_split(order, 7)]
    assert merge_bandwidth(parts, 17) == whole


def test_equal_rows_have_the_smallest_bandwidth():
    joint_ND, hash_N = np.full((5, 3), 2000, np.int16), np.arange(5, dtype=np.uint64)
    assert merge_bandwidth([nearest_references(joint_ND, hash_N, joint_ND, hash_N, 2)], 2) == 1
