"""The cell tree: regions of the joint embedding space whose samples compete for the same picks.

Recursive spherical k-means on integer rows. Assignments compare exact integers, sums of rows are exact, and centroids
are rounded to integers after each iteration: the tree is the same on every machine. Starts are the rows of lowest hash.
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import Kernel, kernel_of
from mmcsal.selection.numerics.kmeans import spherical_kmeans, two_nearest

MAX_FAN_OUT = 64
MIN_ROWS_PER_CHILD = 8  # training rows: a centroid of fewer is an accident
SPLIT_FROM = 1.5  # times the target size


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
        first_R, second_R = two_nearest(joint_ND[row_R], node.centroid_FD)
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
    first_R, _ = two_nearest(train_ND[row_R], centroid_FD)
    for f in range(len(centroid_FD)):
        child_F[f] = _grow(train_ND, row_R[first_R == f], rows_each, cell_size, nodes, leaf_sizes)
    return place
