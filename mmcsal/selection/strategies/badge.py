"""The `badge` strategy: samples whose gradients of the last layer are long and differ from each other.

The gradient is that of the loss for the class which the classifier would guess.

Source:
    Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds", ICLR 2020.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import features
from mmcsal.selection.strategies.gradient_draws import draw_gradients
from mmcsal.selection.strategies.problem import Problem


class BadgeSpec(Spec):
    """Parameters of BADGE: none but the bound."""

    kind: Literal["badge"] = "badge"
    # Pools beyond this many rows are refused: every draw is compared with each row, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: BadgeSpec) -> np.ndarray:
    """Open rows in the order of the draws, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    x_CD = features(problem.joint_ND[open_C])
    error_CY = problem.trained.both.probabilities(x_CD)
    error_CY[np.arange(len(open_C)), error_CY.argmax(axis=1)] -= 1
    num_draws = min(problem.num_ranked, len(open_C))
    return open_C[draw_gradients([(error_CY, x_CD)], num_draws, np.random.default_rng(problem.seed))]
