"""The cell tree: regions of the joint embedding space whose samples compete for the same picks.

Recursive spherical k-means on integer rows. Assignments compare exact integers, sums of rows are exact, and centroids
are rounded to integers after each iteration: the tree is the same on every machine. Starts are the rows of lowest hash.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.kernel import Kernel, kernel_of
from mmcsal.selection.quantize import UNIT, quantize, similarities, square_norms

MAX_FAN_OUT = 64
ITERATIONS = 4
MIN_ROWS_PER_CHILD = 8  # training rows: a centroid of fewer is an accident
SPLIT_FROM = 1.5  # times the target size
CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Node:
    """One split: the rows nearest to centroid f go to `child_F[f]`, a node, or leaf -1 - child where negative."""

    centroid_FD: np.ndarray  # int16
    child_F: np.ndarray  # int64


@dataclass(frozen=True)
class Tree:
    """Node 0 is the root; no nodes = one leaf, 0. Leaves are numbered so that neighbours in the tree are adjacent."""

    nodes: tuple[Node, ...]
    leaf_size_L: np.ndarray  # float64, rows expected in each leaf


def fit_tree(train_ND: np.ndarray, *, num_rows: float, cell_size: int) -> Tree:
    """A tree whose leaves hold about `cell_size` of `num_rows` rows.

    Args:
        train_ND: a sample of the rows, quantised, in the order of their hashes.
    """
    nodes: list[Node] = []
    leaf_sizes: list[float] = []
    _grow(train_ND, np.arange(len(train_ND)), num_rows / max(len(train_ND), 1), cell_size, nodes, leaf_sizes)
    return Tree(tuple(nodes), np.array(leaf_sizes))


def assign(tree: Tree, joint_ND: np.ndarray, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """The leaf of each row, int64 [N], and the coverage that it may expect from the cells around it, uint16 [N].

    That coverage is the kernel to the second-nearest centroid, the largest over the levels of the tree.
    """
    leaf_N, base_N = np.zeros(len(joint_ND), np.int64), np.zeros(len(joint_ND), np.uint16)
    pending = [(0, np.arange(len(joint_ND)))] if tree.nodes else []
    while pending:
        place, row_R = pending.pop()
        node = tree.nodes[place]
        first_R, second_R = _two_nearest(joint_ND[row_R], node.centroid_FD)
        base_N[row_R] = np.maximum(base_N[row_R], kernel_of(second_R, kernel))
        child_R = node.child_F[first_R]
        leaf_N[row_R] = -1 - child_R
        pending += [(int(child), row_R[child_R == child]) for child in np.unique(child_R[child_R >= 0])]
    return leaf_N, base_N


def _grow(train_ND, row_R, rows_each, cell_size, nodes, leaf_sizes) -> int:
    """Adds the subtree of these training rows; returns its node, or -1 - leaf."""
    size = len(row_R) * rows_each
    fan_out = min(MAX_FAN_OUT, int(np.ceil(size / cell_size)), len(row_R) // MIN_ROWS_PER_CHILD)
    centroid_FD = spherical_kmeans(train_ND[row_R], fan_out) if size > SPLIT_FROM * cell_size and fan_out > 1 else None
    if centroid_FD is None:
        leaf_sizes.append(size)
        return -len(leaf_sizes)
    place = len(nodes)
    child_F = np.zeros(len(centroid_FD), np.int64)
    nodes.append(Node(centroid_FD, child_F))
    first_R, _ = _two_nearest(train_ND[row_R], centroid_FD)
    for f in range(len(centroid_FD)):
        child_F[f] = _grow(train_ND, row_R[first_R == f], rows_each, cell_size, nodes, leaf_sizes)
    return place


def spherical_kmeans(rows_ND: np.ndarray, num_centroids: int, *, unit: float = UNIT) -> np.ndarray | None:
    """Quantised centroids, int16 [F, D]; fewer where clusters are empty, None where the rows cannot be split."""
    centroid_FD = _starts(rows_ND, num_centroids)
    for _ in range(ITERATIONS):
        if len(centroid_FD) < 2:
            return None
        cluster_N, _ = _two_nearest(rows_ND, centroid_FD)
        centroid_FD = quantize(_sums(rows_ND, cluster_N, len(centroid_FD)), unit=unit)
    first_N, _ = _two_nearest(rows_ND, centroid_FD)
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
    _add_rows(rows_ND, cluster_N, sum_FD)
    return sum_FD[sum_FD.any(axis=1)].astype(np.float64)


@njit(cache=True, nogil=True)
def _add_rows(rows_ND, cluster_N, sum_FD):
    for n in range(rows_ND.shape[0]):
        for d in range(rows_ND.shape[1]):
            sum_FD[cluster_N[n], d] += rows_ND[n, d]


def _two_nearest(rows_ND: np.ndarray, centroid_FD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
