import numpy as np
import pytest

from mmcsal.selection.strategies.typiclust import TypiClustSpec, _most_typical, rank_rows
from tests.selection.problems import clusters, problem_of, square_distances_of, unit_rows


def test_the_largest_cluster_comes_first_then_each_once_more():
    x_ND, label_N = clusters([30, 60, 15])
    spec = TypiClustSpec(max_clusters=3)
    assert label_N[rank_rows(problem_of(x_ND, 7), spec)].tolist() == [1, 0, 2, 1, 0, 2, 1]


def test_clusters_with_labels_wait():
    x_ND, label_N = clusters([30, 60, 15])
    labeled = np.flatnonzero(label_N == 1)[:1]
    rows = rank_rows(problem_of(x_ND, 4, labeled=labeled), TypiClustSpec(max_clusters=3))
    assert label_N[rows].tolist() == [0, 2, 1, 0]


def test_small_clusters_are_left_out_unless_they_are_needed():
    x_ND, label_N = clusters([30, 20, 4])
    spec = TypiClustSpec(max_clusters=3)
    assert set(label_N[rank_rows(problem_of(x_ND, 20), spec)]) == {0, 1}
    assert set(label_N[rank_rows(problem_of(x_ND, 52), spec)]) == {0, 1, 2}


@pytest.mark.parametrize(("num_rows", "num_neighbours"), [(30, 20), (30, 4), (5, 20), (2, 20), (1, 20)])
def test_the_most_typical_row_against_a_plain_loop(num_rows, num_neighbours):
    problem = problem_of(unit_rows(num_rows), 1)
    used = min(num_neighbours, max(num_rows // 2, 1))
    means = [np.mean(sorted(row)[1 : used + 1] or [0]) for row in square_distances_of(problem)]
    assert _most_typical(problem.joint_ND, num_neighbours) == int(np.argmin(means))


def test_picks_are_distinct_and_as_many_as_there_are():
    x_ND = np.repeat(unit_rows(20), 2, axis=0)
    rows = rank_rows(problem_of(x_ND, 38, closed=[0, 1]), TypiClustSpec())
    assert len(set(rows.tolist())) == 38
    assert not set(rows.tolist()) & {0, 1}
