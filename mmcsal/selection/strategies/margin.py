"""The `margin` strategy: the samples whose two likeliest classes are closest to each other.

Source:
    Scheffer et al., "Active Hidden Markov Models for Information Extraction", 2001.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import features
from mmcsal.selection.strategies.problem import Problem


class MarginSpec(Spec):
    """Parameters of margin sampling: none but the bound."""

    kind: Literal["margin"] = "margin"
    # Pools beyond this many rows are refused: they are scored on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 1_000_000


def rank_rows(problem: Problem, spec: MarginSpec) -> np.ndarray:
    """Open rows by rising margin, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    probability_CY = problem.trained.both.probabilities(features(problem.joint_ND[open_C]))
    second_C, first_C = np.sort(probability_CY, axis=1)[:, -2:].T
    return problem.highest(open_C, second_C - first_C)
