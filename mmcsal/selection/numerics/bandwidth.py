"""The kernel's bandwidth: the mean distance to the k-th nearest neighbour, the scale at which picks share the pool.

Queries are the rows of lowest hash; references a hash sample, dense enough that the rank k shrinks to about 16 in it.
Every shard returns its nearest references of each query, and the merge keeps the nearest of all: the same number
for any split of the pool.
"""

from collections.abc import Sequence

import numpy as np

from mmcsal.selection.numerics.kernel import FAR, square_distances

MIN_RANK = 16  # of the neighbour among the references: fewer make the estimate noisy
MAX_PAIRS = 2**27  # of queries and references
CHUNK_ROWS = 4096


def neighbour_rank(num_pool: int, num_covering: int) -> int:
    """k: the share of the pool that each of `num_covering` samples (picks and labeled) stands for."""
    rank = min(max(round(num_pool / num_covering), 3), num_pool // 4)
    return min(max(rank, 1), max(num_pool - 1, 1))


def sample_sizes(num_pool: int, rank: int) -> tuple[int, int, int]:
    """How many queries and references to take, and the rank among the references that stands for `rank`."""
    num_references = min(num_pool, -(-MIN_RANK * num_pool // rank))
    num_queries = min(num_pool, max(256, min(512, MAX_PAIRS // num_references)))
    return num_queries, num_references, max(1, round(rank * num_references / num_pool))


def nearest_references(
    reference_BD: np.ndarray, reference_hash_B: np.ndarray, query_AD: np.ndarray, query_hash_A: np.ndarray, rank: int
) -> np.ndarray:
    """The `rank` smallest square distances of each query to other rows, int32 [Q, rank], FAR where there are fewer."""
    best_AJ = np.full((len(query_AD), rank), FAR, np.int32)
    for start in range(0, len(reference_BD), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        distance_AB = square_distances(query_AD, reference_BD[rows])
        _, query, own = np.intersect1d(query_hash_A, reference_hash_B[rows], return_indices=True)
        distance_AB[query, own] = FAR  # a row is not its own neighbour
        best_AJ = _smallest(np.concatenate([best_AJ, distance_AB], axis=1), rank)
    return best_AJ


def merge_bandwidth(best_by_shard: Sequence[np.ndarray], rank: int) -> int:
    """The bandwidth in units of UNIT^2, at least 1 (a pool of equal rows), from what the shards returned."""
    best_AJ = _smallest(np.concatenate(best_by_shard, axis=1), rank)
    kth_A = best_AJ.max(axis=1).astype(np.int64)
    found_A = kth_A < FAR
    return max(1, int(kth_A[found_A].sum()) // (2 * max(1, int(found_A.sum()))))


def _smallest(distance_AB: np.ndarray, rank: int) -> np.ndarray:
    return np.partition(distance_AB, rank - 1, axis=1)[:, :rank]
