"""The `facility_location` strategy: the objective of `mmcsal` by dense greedy, without cells and swaps.

Lazy greedy over the whole kernel, every row against every row: the reference that the default is measured against,
for pools whose kernel fits into memory (two bytes a pair of rows). With `select.lambda_align=0` it is plain facility
location.

Source:
    Minoux 1978 (lazy greedy); Nemhauser, Wolsey and Fisher 1978 (its guarantee).
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.objective.coverage_parts import square_blocks, stacked
from mmcsal.selection.solvers.dense_greedy import lazy_greedy
from mmcsal.selection.strategies.problem import Problem


class FacilityLocationSpec(Spec):
    """Parameters of the dense greedy."""

    kind: Literal["facility_location"] = "facility_location"
    # Pools beyond this many rows are refused: the kernel takes two bytes a pair of rows.
    max_pool_size: Annotated[int, Field(ge=1)] = 32768


def rank_rows(problem: Problem, spec: FacilityLocationSpec) -> np.ndarray:
    """Open rows in the order of the greedy, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    used_U = problem.coverage.needed(with_joint=problem.redundancy_unit > 0)
    kernel_NN = square_blocks(problem.joint_ND, [problem.coverage.parts[u] for u in used_U])
    picks = lazy_greedy(
        kernel_NN if len(open_C) == len(kernel_NN) else kernel_NN[open_C],
        open_C,
        stacked(problem.cover_NU[:, used_U]),
        problem.bonus_N[open_C],
        problem.num_ranked,
        weight_N=problem.weight_N,
        part_weight_U=problem.coverage.weight_U[used_U],
        cost_C=problem.cost_N[open_C],
        redundancy_unit=problem.redundancy_unit,
        redundancy_C=problem.cover_NU[open_C, 0],
    )
    return open_C[picks.candidate_P]
