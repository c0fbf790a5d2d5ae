import numpy as np
import pytest

from mmcsal.selection.strategies.k_center import KCenterSpec, rank_rows
from tests.selection.problems import problem_of, square_distances_of, unit_rows


@pytest.mark.parametrize("labeled", [[], [3, 4]])
def test_against_a_plain_loop(labeled):
    problem = problem_of(unit_rows(40), 12, labeled=labeled, closed=[5, 6])
    distance_NN = square_distances_of(problem)
    open_rows = np.flatnonzero(problem.is_open_N)
    picks = [] if labeled else [int(open_rows[problem.hash_N[open_rows].argmin()])]
    while len(picks) < 12:
        left = [n for n in open_rows if n not in picks]
        picks.append(max(left, key=lambda n: (min(distance_NN[n][p] for p in [*labeled, *picks]), -n)))
    assert rank_rows(problem, KCenterSpec()).tolist() == picks


def test_copies_are_taken_last_but_taken():
    x_ND = np.repeat(unit_rows(5), 2, axis=0)
    rows = rank_rows(problem_of(x_ND, 10), KCenterSpec())
    assert sorted(rows) == list(range(10))
    assert sorted(rows[:5] // 2) == list(range(5))
