"""Against a plain greedy: every gain computed anew in Python integers, every pair of rows one after the other."""

from dataclasses import replace

import numpy as np
import pytest

from mmcsal.selection.numerics.kernel import ONE, Kernel, make_kernel
from mmcsal.selection.objective.coverage_parts import joint_coverage
from mmcsal.selection.strategies.facility_location import FacilityLocationSpec, rank_rows
from mmcsal.selection.strategies.problem import Problem
from tests.selection.problems import clusters, problem_of, square_distances_of, unit_rows

NUM_ROWS, NUM_PICKS = 45, 16
LABELED, CLOSED = [3, 17], [5, 40]


def kernel_values(problem: Problem, kernel: Kernel) -> list[list[int]]:
    """Of every pair: the table's value at half the square distance."""
    last = len(kernel.table_T) - 1
    return [
        [int(kernel.table_T[min(int(d) // 2 >> kernel.shift, last)]) for d in row]
        for row in square_distances_of(problem)
    ]


def plain_greedy(problem: Problem, kernel_NN: list[list[int]]) -> list[int]:
    """The best gain per cost of what is left, again and again; the lower row where two are equal."""
    rows = range(len(kernel_NN))
    picks: list[int] = []
    while len(picks) < problem.num_ranked:
        taken = [*np.flatnonzero(problem.is_labeled_N).tolist(), *picks]
        covered_N = [max((kernel_NN[t][n] for t in taken), default=0) for n in rows]
        best, best_worth = -1, 0.0
        for c in rows:
            if not problem.is_open_N[c] or c in picks:
                continue
            coverage = sum(
                int(problem.count_N[n]) * max(kernel_NN[c][n] - covered_N[n], 0) for n in rows
            )  # fmt: skip
            loss = covered_N[c] * problem.redundancy_unit // ONE
            worth = (coverage + int(problem.bonus_N[c]) - loss) / problem.cost_N[c]
            if best < 0 or worth > best_worth:
                best, best_worth = c, worth
        picks.append(best)
    return picks


@pytest.fixture
def problem() -> Problem:
    """Without alignment, costs and redundancy; two rows are labeled and cover, two may not be picked."""
    made = problem_of(unit_rows(NUM_ROWS, seed=1), NUM_PICKS, labeled=LABELED, closed=CLOSED)
    kernel = make_kernel(2_000_000)
    kernel_NN = np.array(kernel_values(made, kernel), np.uint16)
    return replace(made, coverage=joint_coverage(kernel), cover_NU=kernel_NN[LABELED].max(axis=0)[:, None])


RNG = np.random.default_rng(0)
TERMS = {
    "coverage": {},
    "weights": {"weight_N": RNG.integers(0, 9, NUM_ROWS)},
    "alignment": {"bonus_N": RNG.integers(0, 3 * ONE, NUM_ROWS)},
    "costs": {"cost_N": RNG.choice([0.5, 1.0, 3.0], NUM_ROWS)},
    "redundancy": {"redundancy_unit": 2 * ONE, "lambda_div": 1.0},
}


@pytest.mark.parametrize("names", [*([name] for name in TERMS), list(TERMS)], ids="-".join)
def test_against_a_plain_greedy(problem, names):
    for name in names:
        problem = replace(problem, **TERMS[name])
    expected = plain_greedy(problem, kernel_values(problem, problem.kernel))
    assert rank_rows(problem, FacilityLocationSpec()).tolist() == expected


def test_each_term_changes_the_picks(problem):
    """Else the cases above would not tell one term from none."""
    found = {name: tuple(rank_rows(replace(problem, **terms), FacilityLocationSpec())) for name, terms in TERMS.items()}
    assert len(set(found.values())) == len(TERMS)


def test_the_kernel_of_the_reference_is_the_exponential():
    problem, kernel = problem_of(unit_rows(20), 1), make_kernel(2_000_000)
    exact_NN = ONE * np.exp(-square_distances_of(problem) / 2 / kernel.bandwidth)
    np.testing.assert_allclose(kernel_values(problem, kernel), exact_NN, atol=0.004 * ONE)


def test_the_largest_cluster_comes_first():
    x_ND, label_N = clusters([20, 60, 10, 40], noise=0.05)
    assert label_N[rank_rows(problem_of(x_ND, 4), FacilityLocationSpec())].tolist() == [1, 3, 0, 2]
