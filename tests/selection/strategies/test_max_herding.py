"""Against the definition, in float64 on the quantised rows, every coverage of every batch computed anew."""

import numpy as np
import pytest
from pydantic import ValidationError

from mmcsal.selection.numerics.kernel import ONE, square_kernel_block
from mmcsal.selection.strategies.facility_location import FacilityLocationSpec
from mmcsal.selection.strategies.facility_location import rank_rows as facility_location_rows
from mmcsal.selection.strategies.max_herding import MaxHerdingSpec, gaussian_kernel, rank_rows
from mmcsal.selection.strategies.problem import Problem
from tests.selection.problems import clusters, problem_of, unit_rows

NUM_ROWS, NUM_PICKS = 50, 12
LABELED, CLOSED = [4, 21], [7, 8]


def gaussian(problem: Problem, sigma: float) -> np.ndarray:
    x_ND = problem.joint_ND / np.linalg.norm(problem.joint_ND, axis=1, keepdims=True)
    return np.exp(-np.square(x_ND[:, None] - x_ND[None]).sum(axis=2) / sigma**2)


def coverage(kernel_NN: np.ndarray, weight_N: np.ndarray, batch: list[int]) -> float:
    return float(weight_N @ kernel_NN[:, batch].max(axis=1)) / weight_N.sum() if batch else 0.0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("labeled", [[], LABELED])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_pick_raises_the_coverage_as_far_as_any_could(sigma, labeled, is_weighted):
    weight_N = np.random.default_rng(0).integers(0, 5, NUM_ROWS) if is_weighted else np.zeros(0, np.int64)
    problem = problem_of(unit_rows(NUM_ROWS), NUM_PICKS, labeled=labeled, closed=CLOSED, weight_N=weight_N)
    kernel_NN, batch = gaussian(problem, sigma), list(labeled)
    rows = rank_rows(problem, MaxHerdingSpec(sigma=sigma)).tolist()
    assert len(set(rows)) == NUM_PICKS
    for row in rows:
        found = {n: coverage(kernel_NN, problem.count_N, [*batch, n]) for n in np.flatnonzero(problem.is_open_N)}
        assert found[row] > max(found.values()) - 2e-3  # the table is off by at most .0037 a pair
        batch.append(row)
    assert not set(rows) & {*labeled, *CLOSED}


@pytest.mark.parametrize("labeled", [[], LABELED])
def test_it_is_the_plain_greedy_on_the_table(labeled):
    problem = problem_of(unit_rows(NUM_ROWS, seed=3), NUM_PICKS, labeled=labeled, closed=CLOSED)
    kernel_NN = square_kernel_block(problem.joint_ND, gaussian_kernel(1.0)).astype(int).tolist()
    picks: list[int] = []
    while len(picks) < NUM_PICKS:
        covered = [max((kernel_NN[t][n] for t in [*labeled, *picks]), default=0) for n in range(NUM_ROWS)]
        left = [n for n in np.flatnonzero(problem.is_open_N).tolist() if n not in picks]
        picks.append(max(left, key=lambda c: (sum(max(kernel_NN[c][n], covered[n]) for n in range(NUM_ROWS)), -c)))
    assert rank_rows(problem, MaxHerdingSpec()).tolist() == picks


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 2.0])
def test_the_table_is_the_gaussian(sigma):
    problem = problem_of(unit_rows(30), 1)
    table_NN = square_kernel_block(problem.joint_ND, gaussian_kernel(sigma)) / ONE
    np.testing.assert_allclose(table_NN, gaussian(problem, sigma), atol=0.005)


def test_the_largest_cluster_comes_first_and_what_is_labeled_is_covered():
    x_ND, label_N = clusters([20, 60, 10, 40], noise=0.05)
    assert label_N[rank_rows(problem_of(x_ND, 4), MaxHerdingSpec())].tolist() == [1, 3, 0, 2]
    labeled = np.flatnonzero(label_N == 1)[:1]
    assert label_N[rank_rows(problem_of(x_ND, 3, labeled=labeled), MaxHerdingSpec())].tolist() == [3, 0, 2]


def test_the_kernel_is_its_own_whatever_that_of_the_selection_is():
    """`facility_location` takes the kernel of the selection, whose bandwidth follows the budget; this one does not."""
    problem = problem_of(unit_rows(NUM_ROWS, seed=1), NUM_PICKS)
    assert problem.kernel.bandwidth != gaussian_kernel(1.0).bandwidth
    ours = rank_rows(problem, MaxHerdingSpec()).tolist()
    assert ours != facility_location_rows(problem, FacilityLocationSpec()).tolist()
    assert ours != rank_rows(problem, MaxHerdingSpec(sigma=0.3)).tolist()


@pytest.mark.parametrize("sigma", [0.0, 0.01, 3.0])
def test_a_width_that_tells_nothing_apart_is_refused(sigma):
    with pytest.raises(ValidationError):
        MaxHerdingSpec(sigma=sigma)
