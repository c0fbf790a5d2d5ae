"""k-means in integers: sums and distances are exact, so the clusters are the same on every machine.

The rows lie on a sphere, so Euclidean k-means and its spherical form differ by the length of the centres alone.
"""

import numpy as np
from numba import njit

from mmcsal.selection.numerics.kernel import nearest
from mmcsal.selection.numerics.quantize import UNIT, quantize, similarities, square_norms

NUM_ITERATIONS, NUM_SPHERICAL_ITERATIONS = 25, 4
CHUNK_ROWS = 8192


def kmeans(
    joint_ND: np.ndarray,
    num_clusters: int,
    rng: np.random.Generator,
    *,
    weight_N: np.ndarray | None = None,
    fixed_LD: np.ndarray | None = None,
    num_iterations: int = NUM_ITERATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Centres that rows are close to, int16 [K, D], and the cluster of each row, int64 [N].

    It starts from rows drawn by k-means++; a cluster that loses all its rows takes the one that is worst covered.

    Args:
        joint_ND: quantised rows; at least as many as clusters.
        weight_N: int64, how often each row counts; once by default.
        fixed_LD: quantised centres that do not move. Rows nearest to one of them get cluster -1, and pull on none.

    Source:
        Lloyd 1982; Arthur & Vassilvitskii, "k-means++", 2007.
    """
    fixed_LD = joint_ND[:0] if fixed_LD is None else fixed_LD
    weight_N = np.ones(len(joint_ND), np.int64) if weight_N is None else weight_N
    centre_KD = joint_ND[spread(joint_ND, num_clusters, rng, weight_N=weight_N, fixed_LD=fixed_LD)]
    for _ in range(num_iterations):
        cluster_N, distance_N = _assign(joint_ND, fixed_LD, centre_KD)
        moved_KD = _centres(joint_ND, cluster_N, weight_N, distance_N, num_clusters)
        if np.array_equal(moved_KD, centre_KD):
            break
        centre_KD = moved_KD
    return centre_KD, _assign(joint_ND, fixed_LD, centre_KD)[0]


def spread(
    joint_ND: np.ndarray,
    num_rows: int,
    rng: np.random.Generator,
    *,
    weight_N: np.ndarray,
    fixed_LD: np.ndarray,
) -> np.ndarray:
    """Rows drawn one after the other with a chance that grows as the square distance to those before, int64.

    Where all rows left are copies of drawn ones, the first of them that are not drawn yet.
    """
    norm_N, joint32_ND = square_norms(joint_ND), joint_ND.astype(np.float32)
    _, closest_N = nearest(joint_ND, fixed_LD)
    closest_N = np.minimum(closest_N, 1) if not len(fixed_LD) else closest_N  # the first draw: all alike
    rows: list[int] = []
    for _ in range(num_rows):
        chance_N = closest_N.astype(np.int64) * weight_N
        chance_N[rows] = 0
        reached_N = np.cumsum(chance_N)
        if reached_N[-1] == 0:
            left = np.setdiff1d(np.arange(len(joint_ND)), rows)
            return np.array([*rows, *left[: num_rows - len(rows)]], np.int64)
        row = int(np.searchsorted(reached_N, rng.integers(reached_N[-1]), side="right"))
        similarity_N = similarities(joint32_ND, joint32_ND[row : row + 1])[:, 0].astype(np.int32)
        distance_N = norm_N + norm_N[row] - 2 * similarity_N
        closest_N = np.minimum(closest_N, distance_N) if rows or len(fixed_LD) else distance_N
        rows.append(row)
    return np.array(rows, np.int64)


def _assign(joint_ND: np.ndarray, fixed_LD: np.ndarray, centre_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row, -1 where a fixed centre is as near, and the square distance to what it belongs to."""
    place_N, distance_N = nearest(joint_ND, np.concatenate([fixed_LD, centre_KD]))
    return np.maximum(place_N - len(fixed_LD), -1), distance_N


def _centres(joint_ND, cluster_N, weight_N, distance_N, num_clusters: int) -> np.ndarray:
    sum_KD, weight_K = np.zeros((num_clusters, joint_ND.shape[1]), np.int64), np.zeros(num_clusters, np.int64)
    _add_rows(joint_ND, cluster_N, weight_N, sum_KD, weight_K)
    centre_KD = np.rint(sum_KD / np.maximum(weight_K, 1)[:, None]).astype(np.int16)
    empty_K = np.flatnonzero(weight_K == 0)
    centre_KD[empty_K] = joint_ND[np.argsort(-distance_N, kind="stable")[: len(empty_K)]]
    return centre_KD


@njit(cache=True, nogil=True)
def _add_rows(joint_ND, cluster_N, weight_N, sum_KD, weight_K):
    for n in range(joint_ND.shape[0]):
        k = cluster_N[n]
        if k < 0:
            continue
        weight_K[k] += weight_N[n]
        for d in range(joint_ND.shape[1]):
            sum_KD[k, d] += weight_N[n] * joint_ND[n, d]


def spherical_kmeans(rows_ND: np.ndarray, num_centroids: int, *, unit: float = UNIT) -> np.ndarray | None:
    """Quantised centroids of unit length, int16 [F, D]; fewer where clusters are empty, None where no split is.

    Starts are the first rows that differ; a few iterations are enough for the cells of a tree.
    """
    centroid_FD = _starts(rows_ND, num_centroids)
    for _ in range(NUM_SPHERICAL_ITERATIONS):
        if len(centroid_FD) < 2:
            return None
        cluster_N, _ = two_nearest(rows_ND, centroid_FD)
        centroid_FD = quantize(_sums(rows_ND, cluster_N, len(centroid_FD)), unit=unit)
    first_N, _ = two_nearest(rows_ND, centroid_FD)
    kept = np.unique(first_N)
    return centroid_FD[kept] if len(kept) > 1 else None


def _starts(rows_ND: np.ndarray, num_centroids: int) -> np.ndarray:
    """The first rows that differ from each other."""
    head_ND = rows_ND[: 8 * num_centroids]
    first: dict[bytes, int] = {}
    for n, row_D in enumerate(head_ND):
        first.setdefault(row_D.tobytes(), n)
        if len(first) == num_centroids:
            break
    return head_ND[list(first.values())]


def _sums(rows_ND: np.ndarray, cluster_N: np.ndarray, num_clusters: int) -> np.ndarray:
    """The sum of the rows of each cluster, float64 that holds integers; those without a direction are left out."""
    sum_FD = np.zeros((num_clusters, rows_ND.shape[1]), np.int64)
    _add_rows(rows_ND, cluster_N, np.ones(len(rows_ND), np.int64), sum_FD, np.zeros(num_clusters, np.int64))
    return sum_FD[sum_FD.any(axis=1)].astype(np.float64)


def two_nearest(rows_ND: np.ndarray, centroid_FD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid, int64 [N], and the square distance to the second-nearest, int32 [N]."""
    first_N, second_N = np.empty(len(rows_ND), np.int64), np.empty(len(rows_ND), np.int32)
    norm_F, centroid32_FD = square_norms(centroid_FD), centroid_FD.astype(np.float32)
    for start in range(0, len(rows_ND), CHUNK_ROWS):
        rows_AD = rows_ND[start : start + CHUNK_ROWS]
        # |c|^2 - 2 q.c: the square distance less the row's own norm, which does not change the order.
        distance_AF = norm_F[None, :] - 2 * similarities(rows_AD, centroid32_FD).astype(np.int32)
        first_A = distance_AF.argmin(axis=1)
        distance_AF[np.arange(len(rows_AD)), first_A] = np.iinfo(np.int32).max
        first_N[start : start + len(rows_AD)] = first_A
        second_N[start : start + len(rows_AD)] = distance_AF.min(axis=1) + square_norms(rows_AD)
    return first_N, second_N
