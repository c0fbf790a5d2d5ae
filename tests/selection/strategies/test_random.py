import numpy as np

from mmcsal.selection.strategies.random import RandomSpec, rank_rows
from tests.selection.problems import problem_of, unit_rows


def test_every_open_row_has_the_same_chance():
    x_ND = unit_rows(20)
    counts = np.zeros(20)
    for seed in range(400):
        counts[rank_rows(problem_of(x_ND, 5, closed=[3], labeled=[7], seed=seed), RandomSpec())] += 1
    assert counts[[3, 7]].tolist() == [0, 0]
    expected = 400 * 5 / 18
    chi_square = ((np.delete(counts, [3, 7]) - expected) ** 2 / expected).sum()
    assert chi_square < 40  # 17 degrees of freedom: p = .001


def test_a_smaller_budget_takes_the_first_ranks():
    x_ND = unit_rows(30)
    ranked = rank_rows(problem_of(x_ND, 12), RandomSpec()).tolist()
    assert len(set(ranked)) == 12
    assert rank_rows(problem_of(x_ND, 4), RandomSpec()).tolist() == ranked[:4]
