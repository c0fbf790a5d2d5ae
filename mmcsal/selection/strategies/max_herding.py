"""The `max_herding` strategy: the samples that cover the pool best under a Gaussian kernel of one fixed width.

Greedy maximisation of the generalized coverage f(S) = mean over x of max over s in S of k(x, s), where labeled samples
are in S from the start, and k(x, s) = exp(-|x - s|^2 / sigma^2) on joint embeddings of unit norm. Form and default,
sigma = 1, are those of the authors' code; the paper finds the result robust to it. Beside `facility_location`: the
kernel is the same for every budget and pool, not as wide as a pick's share of the pool, and no term but coverage.

The kernel is a table of integers, so gains are exact. With |x - s|^2 = 2 (1 - cos), its bandwidth, in units of a
cosine, is sigma^2 / 2.

Source:
    Bae et al., "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kernel import Kernel, kernel_of, make_kernel, nearest, square_kernel_block
from mmcsal.selection.numerics.quantize import UNIT
from mmcsal.selection.solvers.dense_greedy import lazy_greedy
from mmcsal.selection.strategies.problem import Problem


class MaxHerdingSpec(Spec):
    """Parameters of MaxHerding."""

    kind: Literal["max_herding"] = "max_herding"
    sigma: Annotated[float, Field(ge=0.05, le=2)] = 1.0  # length scale: rows of unit norm are at most 2 apart
    # Pools beyond this many rows are refused: the kernel takes two bytes a pair of rows.
    max_pool_size: Annotated[int, Field(ge=1)] = 32768


def rank_rows(problem: Problem, spec: MaxHerdingSpec) -> np.ndarray:
    """Open rows in the order of the greedy, by gain per cost, int64 [at most `problem.num_ranked`]."""
    open_C, kernel = np.flatnonzero(problem.is_open_N), gaussian_kernel(spec.sigma)
    kernel_NN = square_kernel_block(problem.joint_ND, kernel)
    _, labeled_distance_N = nearest(problem.joint_ND, problem.joint_ND[problem.is_labeled_N])
    picks = lazy_greedy(
        kernel_NN if len(open_C) == len(kernel_NN) else kernel_NN[open_C],
        open_C,
        kernel_of(labeled_distance_N, kernel),
        np.zeros(len(open_C), np.int64),
        problem.num_ranked,
        weight_N=problem.weight_N,
        cost_C=problem.cost_N[open_C],
    )
    return open_C[picks.candidate_P]


def gaussian_kernel(sigma: float) -> Kernel:
    """exp(-|x - s|^2 / sigma^2) of quantised rows."""
    return make_kernel(round(sigma**2 / 2 * UNIT**2))
