import numpy as np
from sklearn.cluster import KMeans

from mmcsal.selection.strategies.kmeans_nearest import KMeansNearestSpec, rank_rows
from tests.selection.problems import clusters, problem_of, unit_rows


def coverage(x_ND, rows):
    return np.mean((x_ND @ x_ND[rows].T).max(axis=1))


def test_one_row_a_cluster_the_largest_first():
    x_ND, label_N = clusters([20, 50, 8, 30])
    rows = rank_rows(problem_of(x_ND, 4), KMeansNearestSpec())
    assert label_N[rows].tolist() == [1, 3, 0, 2]
    for row in rows:
        mine = label_N == label_N[row]
        distance_N = np.linalg.norm(x_ND - x_ND[mine].mean(axis=0), axis=1)
        assert distance_N[row] < np.quantile(distance_N[mine], 0.1)


def test_it_covers_as_much_as_the_same_method_by_scikit_learn():
    x_ND = unit_rows(400)
    ours, theirs = [], []
    for seed in range(6):
        ours.append(coverage(x_ND, rank_rows(problem_of(x_ND, 15, seed=seed), KMeansNearestSpec())))
        centre_KD = KMeans(15, n_init=1, random_state=seed).fit(x_ND).cluster_centers_
        theirs.append(coverage(x_ND, np.linalg.norm(x_ND[None] - centre_KD[:, None], axis=2).argmin(axis=1)))
    assert np.mean(ours) > np.mean(theirs) - 0.005


def test_what_is_labeled_is_not_chosen_again():
    x_ND, label_N = clusters([40, 40, 40])
    labeled = np.flatnonzero(label_N == 1)[:2]
    rows = rank_rows(problem_of(x_ND, 2, labeled=labeled), KMeansNearestSpec())
    assert sorted(label_N[rows]) == [0, 2]


def test_closed_rows_are_passed_over():
    x_ND, _ = clusters([10, 10])
    first = rank_rows(problem_of(x_ND, 2), KMeansNearestSpec())
    second = rank_rows(problem_of(x_ND, 2, closed=first), KMeansNearestSpec())
    assert not set(first) & set(second)
