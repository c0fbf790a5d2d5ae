"""The `k_center` strategy: always the open sample that is farthest from all picks so far (core-set).

It covers every sample as well as can be, outliers first: strong with large budgets, weak with small ones.

Source:
    Gonzalez 1985; Sener & Savarese, "Active Learning for CNNs: A Core-Set Approach", ICLR 2018.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kernel import nearest
from mmcsal.selection.numerics.quantize import similarities, square_norms
from mmcsal.selection.strategies.problem import Problem


class KCenterSpec(Spec):
    """Parameters of greedy k-center: none but the bound."""

    kind: Literal["k_center"] = "k_center"
    # Pools beyond this many rows are refused: every pick is compared with each row, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: KCenterSpec) -> np.ndarray:
    """Open rows in the order of the greedy, int64 [at most `problem.num_ranked`]; weights do not count.

    The first is the one of lowest hash, or the farthest from the labeled samples where there are some.
    """
    open_C = np.flatnonzero(problem.is_open_N)
    joint_CD, norm_C = problem.joint_ND[open_C].astype(np.float32), square_norms(problem.joint_ND[open_C])
    _, distance_C = nearest(problem.joint_ND[open_C], problem.joint_ND[problem.is_labeled_N])
    is_left_C, rows = np.ones(len(open_C), bool), []
    first = None if problem.is_labeled_N.any() else int(np.argmin(problem.hash_N[open_C]))
    for _ in range(min(problem.num_ranked, len(open_C))):
        row = int(np.where(is_left_C, distance_C, -1).argmax()) if first is None or rows else first
        rows.append(row)
        is_left_C[row] = False
        similarity_C = similarities(joint_CD, joint_CD[row : row + 1])[:, 0].astype(np.int32)
        np.minimum(distance_C, norm_C + norm_C[row] - 2 * similarity_C, out=distance_C)
    return open_C[np.array(rows, np.int64)]
