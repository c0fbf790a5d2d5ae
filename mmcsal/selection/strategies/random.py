"""The `random` strategy: every open sample has the same chance. What every other strategy has to beat."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.problem import Problem

MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that all products differ (modulo 2^64)


class RandomSpec(Spec):
    """Parameters of the random choice; its seed is the run's."""

    kind: Literal["random"] = "random"
    # Pools beyond this many rows are refused: what each pick stands for is found on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 1_000_000


def rank_rows(problem: Problem, spec: RandomSpec) -> np.ndarray:
    """Open rows in an order that follows from their hashes, int64 [at most `problem.num_ranked`].

    Another seed, another order. Not that of the hashes themselves: the rows of lowest hash are what coverage is
    measured on, and picks must not be what they are judged by.
    """
    open_C = np.flatnonzero(problem.is_open_N)
    return open_C[np.argsort(problem.hash_N[open_C] * MIXER)][: problem.num_ranked]
