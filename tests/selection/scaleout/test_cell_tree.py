import numpy as np

from mmcsal.selection.numerics.kernel import kernel_of, make_kernel
from mmcsal.selection.numerics.kmeans import spherical_kmeans
from mmcsal.selection.numerics.quantize import UNIT, quantize, quantize_joint
from mmcsal.selection.objective.coverage_parts import joint_coverage
from mmcsal.selection.scaleout.cell_tree import assign, fit_tree

KERNEL = make_kernel(UNIT**2 // 5)
COVERAGE = joint_coverage(KERNEL)


def joint(views, num_rows):
    pool = views(num_rows, seed=5)
    return quantize_joint(pool.a_ND, pool.v_ND)


def test_leaves_are_near_the_target_size(views):
    joint_ND = joint(views, 6000)
    tree = fit_tree(joint_ND, num_rows=6000, cell_size=100)
    leaf_N, _ = assign(tree, joint_ND, COVERAGE)
    sizes = np.bincount(leaf_N)
    assert len(sizes) == len(tree.leaf_size_V)
    assert np.array_equal(sizes, tree.leaf_size_V.round())  # the training rows fall where they were counted
    assert len(tree.nodes) > 1  # more than one level
    assert sizes.max() <= 150


def test_rows_go_to_the_nearest_centroid(views):
    joint_ND = joint(views, 500)
    tree = fit_tree(joint_ND, num_rows=500, cell_size=60)
    assert len(tree.nodes) >= 1
    leaf_N, base_NU = assign(tree, joint_ND, COVERAGE)
    root = tree.nodes[0]
    distance_NF = ((joint_ND.astype(int)[:, None] - root.centroid_FD.astype(int)[None]) ** 2).sum(axis=2)
    child_N = root.child_F[distance_NF.argmin(axis=1)]
    at_leaf = child_N < 0
    assert np.array_equal(leaf_N[at_leaf], -1 - child_N[at_leaf])
    second_N = np.sort(distance_NF, axis=1)[:, 1]
    assert np.array_equal(base_NU[at_leaf, 0], kernel_of(second_N.astype(np.int32), KERNEL)[at_leaf])


def test_one_cell_has_no_base_coverage(views):
    joint_ND = joint(views, 50)
    tree = fit_tree(joint_ND, num_rows=50, cell_size=50)
    leaf_N, base_NU = assign(tree, joint_ND, COVERAGE)
    assert len(tree.nodes) == 0
    assert not leaf_N.any()
    assert not base_NU.any()


def test_equal_rows_are_not_split():
    same_ND = np.full((500, 6), 1600, np.int16)
    assert spherical_kmeans(same_ND, 8) is None
    tree = fit_tree(same_ND, num_rows=500, cell_size=10)
    assert tree.leaf_size_V.tolist() == [500]


def test_opposite_rows_make_no_empty_centroid():
    rows_ND = quantize(np.repeat(np.concatenate([np.eye(4), -np.eye(4)]), 30, axis=0))
    centroid_FD = spherical_kmeans(rows_ND[np.random.default_rng(0).permutation(len(rows_ND))], 8)
    assert centroid_FD is not None
    assert 2 <= len(centroid_FD) <= 8
