import numpy as np
import pytest

from mmcsal.selection.numerics.kmeans import kmeans
from mmcsal.selection.strategies.prob_cover import ProbCoverSpec, ball_radius, rank_rows
from tests.selection.problems import clusters, problem_of, square_distances_of, unit_rows

SPEC = ProbCoverSpec(num_classes=4)


def purity(distance_NN, cluster_N, radius):
    near_NN = distance_NN <= radius
    return np.mean([len(set(cluster_N[near_N])) == 1 for near_N in near_NN])


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_the_radius_is_the_largest_with_that_share_of_pure_balls(share):
    problem = problem_of(unit_rows(60), 1)
    spec = ProbCoverSpec(num_classes=4, purity=share)
    radius = ball_radius(problem.joint_ND, spec, np.random.default_rng(5))
    _, cluster_N = kmeans(problem.joint_ND, 4, np.random.default_rng(5))
    distance_NN = square_distances_of(problem)
    assert purity(distance_NN, cluster_N, radius) >= share
    assert purity(distance_NN, cluster_N, radius + 1) < share


@pytest.mark.parametrize("labeled", [[], [0, 9]])
def test_against_a_plain_loop(labeled):
    weight_N = np.random.default_rng(0).integers(1, 5, 50)
    problem = problem_of(unit_rows(50, width=3), 20, labeled=labeled, closed=[5], weight_N=weight_N)
    by_hash = np.argsort(problem.hash_N)
    radius = ball_radius(problem.joint_ND[by_hash], SPEC, np.random.default_rng(problem.seed))
    near_NN = square_distances_of(problem) <= radius
    covered, picks = {n for row in labeled for n in np.flatnonzero(near_NN[row])}, []
    while len(picks) < 20:
        left = [n for n in by_hash if problem.is_open_N[n] and n not in picks]
        gains = [sum(weight_N[m] for m in np.flatnonzero(near_NN[n]) if m not in covered) for n in left]
        picks.append(left[int(np.argmax(gains))])
        covered |= set(np.flatnonzero(near_NN[picks[-1]]))
    assert rank_rows(problem, SPEC).tolist() == picks


def test_dense_clusters_come_first():
    x_ND, label_N = clusters([20, 60, 10, 40], noise=0.02)
    assert label_N[rank_rows(problem_of(x_ND, 4), SPEC)].tolist() == [1, 3, 0, 2]
