"""The cell tree: it cuts the joint embedding space into cells, whose samples compete for the same picks.

Recursive spherical k-means on integer rows. Assignments compare exact integers, sums of rows are exact, and centroids
are rounded to integers after each iteration: the tree is the same on every machine. Starts are the rows of lowest hash.
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import kernel_of
from mmcsal.selection.numerics.kmeans import spherical_kmeans, two_nearest
from mmcsal.selection.objective.coverage_parts import CoverageParts

MAX_FAN_OUT = 64
MIN_ROWS_PER_CHILD = 8  # training rows: a centroid of fewer is an accident
SPLIT_FROM = 1.5  # times the target size
MAX_BUCKET_ROWS = 8192
MAX_BUCKETS = 1024


@dataclass(frozen=True)
class Node:
    """One split: the rows nearest to centroid f go to `child_F[f]`, a node, or leaf -1 - child where negative."""

    centroid_FD: np.ndarray  # int16
    child_F: np.ndarray  # int64


@dataclass(frozen=True)
class Tree:
    """Node 0 is the root; no nodes = one leaf, 0. Leaves are numbered so that neighbours in the tree are adjacent."""

    nodes: tuple[Node, ...]
    leaf_size_V: np.ndarray  # float64, rows expected in each leaf


@dataclass(frozen=True)
class CellMap:
    """From the leaves of a tree to cells, and from cells to the buckets that the shuffle sends their rows to."""

    tree: Tree
    num_parts_V: np.ndarray  # parts by hash that a leaf is cut into, where the tree could not split it
    first_cell_V: np.ndarray  # number of the first part of a leaf
    bucket_of_cell: np.ndarray
    cell_size: int  # rows that a cell should hold
    max_cell_size: int  # no cell holds more

    @property
    def num_buckets(self) -> int:
        return int(self.bucket_of_cell.max()) + 1

    def assign(
        self, hash_N: np.ndarray, joint_ND: np.ndarray, coverage: CoverageParts
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cell of each row, int64 [N], and the coverage to expect from the cells around it, uint16 [N, U]."""
        leaf_N, around_NU = assign(self.tree, joint_ND, coverage)
        part_N = (hash_N % self.num_parts_V[leaf_N].astype(np.uint64)).astype(np.int64)
        return self.first_cell_V[leaf_N] + part_N, around_NU


def make_cell_map(tree: Tree, growth: float, *, cell_size: int, max_cell_size: int, one_bucket: bool) -> CellMap:
    """Cuts leaves that are too large for a bucket; neighbours in the tree share buckets.

    Args:
        growth: how many times the rows that the tree was made for are sent.
        one_bucket: all rows together, for strategies that rank a whole pool.
    """
    size_V = tree.leaf_size_V * growth
    bucket_rows = np.inf if one_bucket else max(MAX_BUCKET_ROWS, size_V.sum() / MAX_BUCKETS)
    num_parts_V = np.maximum(1, np.ceil(size_V / (1.25 * bucket_rows))).astype(np.int64)
    buckets, filled = [], np.inf
    for size in np.repeat(size_V / num_parts_V, num_parts_V):
        is_new = not buckets or filled + size > bucket_rows
        buckets.append((buckets[-1] if buckets else -1) + int(is_new))
        filled = size + (0.0 if is_new else filled)
    first_cell_V = np.cumsum(num_parts_V) - num_parts_V
    return CellMap(tree, num_parts_V, first_cell_V, np.array(buckets, np.int64), cell_size, max_cell_size)


def fit_tree(train_ND: np.ndarray, *, num_rows: float, cell_size: int) -> Tree:
    """A tree whose leaves hold about `cell_size` of `num_rows` rows.

    Args:
        train_ND: a sample of the rows, quantised, in the order of their hashes.
    """
    nodes: list[Node] = []
    leaf_sizes: list[float] = []
    _grow(train_ND, np.arange(len(train_ND)), num_rows / max(len(train_ND), 1), cell_size, nodes, leaf_sizes)
    return Tree(tuple(nodes), np.array(leaf_sizes))


def assign(tree: Tree, joint_ND: np.ndarray, coverage: CoverageParts) -> tuple[np.ndarray, np.ndarray]:
    """The leaf of each row, int64 [N], and the coverage that it may expect from the cells around it, uint16 [N, U].

    That coverage is the joint kernel to the second-nearest centroid, the largest over the levels of the tree. By one
    modality nothing is expected: cells that are far apart may be alike in it, and each would leave it to the other.
    """
    leaf_N, base_NU = np.zeros(len(joint_ND), np.int64), np.zeros((len(joint_ND), len(coverage.parts)), np.uint16)
    pending = [(0, np.arange(len(joint_ND)))] if tree.nodes else []
    while pending:
        place, row_R = pending.pop()
        node = tree.nodes[place]
        first_R, second_R = two_nearest(joint_ND[row_R], node.centroid_FD)
        base_NU[row_R, 0] = np.maximum(base_NU[row_R, 0], kernel_of(second_R, coverage.joint))
        child_R = node.child_F[first_R]
        leaf_N[row_R] = -1 - child_R
        pending += [(int(child), row_R[child_R == child]) for child in np.unique(child_R[child_R >= 0])]
    return leaf_N, base_NU


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
