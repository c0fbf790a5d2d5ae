"""The `bald` strategy: the samples on which draws of the classifier disagree, though each draw is sure.

Draws are by dropout of the features (MC dropout): the same columns are left out for all samples of a draw.

Source:
    Houlsby et al. 2011; Gal et al., "Deep Bayesian Active Learning with Image Data", ICML 2017.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import entropy, features
from mmcsal.selection.strategies.problem import Problem


class BaldSpec(Spec):
    """Parameters of BALD."""

    kind: Literal["bald"] = "bald"
    num_draws: Annotated[int, Field(ge=2)] = 20
    dropout: Annotated[float, Field(gt=0, lt=1)] = 0.5  # share of the features that a draw leaves out
    # Pools beyond this many rows are refused: they are scored on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: BaldSpec) -> np.ndarray:
    """Open rows by falling mutual information of class and draw, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    x_CD = features(problem.joint_ND[open_C])
    rng = np.random.default_rng(problem.seed)
    mean_CY, inner_C = 0.0, np.zeros(len(open_C))
    for _ in range(spec.num_draws):
        kept_D = (rng.random(x_CD.shape[1]) >= spec.dropout) / (1 - spec.dropout)
        probability_CY = problem.trained.both.probabilities(x_CD * kept_D)
        mean_CY = mean_CY + probability_CY / spec.num_draws
        inner_C += entropy(probability_CY) / spec.num_draws
    return problem.highest(open_C, entropy(np.asarray(mean_CY)) - inner_C)
