import numpy as np
import pytest
from sklearn.cluster import KMeans

from mmcsal.selection.numerics.kmeans import kmeans, spread
from mmcsal.selection.numerics.quantize import UNIT, quantize
from tests.selection.problems import clusters, unit_rows

NONE_LD = np.zeros((0, 6), np.int16)


def inertia(x_ND, centre_KD) -> float:
    return float(((x_ND[:, None, :] - centre_KD[None, :, :]) ** 2).sum(axis=2).min(axis=1).sum())


def of(x_ND, num_clusters, seed=0, **given):
    return kmeans(quantize(x_ND), num_clusters, np.random.default_rng(seed), **given)


def test_clusters_are_found():
    x_ND, label_N = clusters([20, 50, 5, 30])
    _, cluster_N = of(x_ND, 4)
    assert len(set(zip(label_N, cluster_N, strict=True))) == 4


def test_from_the_same_starts_the_centres_are_those_of_scikit_learn():
    x_ND = unit_rows(300)
    start_KD = x_ND[spread(quantize(x_ND), 9, np.random.default_rng(1), weight_N=np.ones(300, int), fixed_LD=NONE_LD)]
    theirs = KMeans(9, init=start_KD, n_init=1, max_iter=100, tol=0, algorithm="lloyd").fit(x_ND)
    centre_KD, cluster_N = of(x_ND, 9, seed=1, num_iterations=100)
    assert (cluster_N == theirs.labels_).mean() > 0.99  # rows are rounded: one at a border may fall to the other side
    np.testing.assert_allclose(centre_KD / UNIT, theirs.cluster_centers_, atol=0.02)


def test_over_seeds_it_is_as_good_as_scikit_learn():
    x_ND = unit_rows(400, seed=3)
    theirs = [KMeans(12, n_init=1, random_state=seed).fit(x_ND).inertia_ for seed in range(8)]
    ours = [inertia(x_ND, of(x_ND, 12, seed)[0] / UNIT) for seed in range(8)]
    assert np.mean(ours) < 1.03 * np.mean(theirs)


def test_a_weight_counts_as_so_many_copies():
    x_ND = unit_rows(40)
    weight_N = np.random.default_rng(0).integers(1, 4, 40)
    copies = np.repeat(np.arange(40), weight_N)
    start = {"num_clusters": 1, "rng": np.random.default_rng(0)}
    weighted_KD, _ = kmeans(quantize(x_ND), weight_N=weight_N, **start)
    np.testing.assert_array_equal(weighted_KD, kmeans(quantize(x_ND[copies]), **start)[0])


def test_rows_around_a_fixed_centre_pull_on_no_other():
    x_ND, label_N = clusters([30, 30, 30])
    fixed_LD = quantize(np.eye(5)[[1]])
    centre_KD, cluster_N = of(x_ND, 2, fixed_LD=fixed_LD)
    assert (cluster_N[label_N == 1] == -1).all()
    assert (cluster_N[label_N != 1] >= 0).all()
    assert sorted(centre_KD.argmax(axis=1).tolist()) == [0, 2]


@pytest.mark.parametrize("num_clusters", [3, 5, 8])
def test_copies_are_no_reason_to_fail(num_clusters):
    x_ND = np.repeat(unit_rows(4), 2, axis=0)
    centre_KD, cluster_N = of(x_ND, num_clusters)
    assert len(centre_KD) == num_clusters
    assert set(cluster_N) <= set(range(num_clusters))
    rows = spread(quantize(x_ND), 8, np.random.default_rng(0), weight_N=np.ones(8, int), fixed_LD=NONE_LD)
    assert sorted(rows) == list(range(8))


def test_far_rows_are_drawn_first():
    x_ND, label_N = clusters([500, 500, 3], noise=0.01)
    drawn = [
        label_N[
            spread(quantize(x_ND), 3, np.random.default_rng(s), weight_N=np.ones(1003, int), fixed_LD=NONE_LD[:, :5])
        ]
        for s in range(20)
    ]
    assert np.mean([len(set(labels)) for labels in drawn]) > 2.2  # of rows alike, 2.0 would be many
