"""The `entropy` strategy: the samples whose class the classifier is least sure of, by the entropy of all classes.

Source:
    Settles, "Active Learning Literature Survey", 2009.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import entropy, features
from mmcsal.selection.strategies.problem import Problem


class EntropySpec(Spec):
    """Parameters of uncertainty sampling by entropy: none but the bound."""

    kind: Literal["entropy"] = "entropy"
    # Pools beyond this many rows are refused: they are scored on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 1_000_000


def rank_rows(problem: Problem, spec: EntropySpec) -> np.ndarray:
    """Open rows by falling entropy, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    x_CD = features(problem.joint_ND[open_C])
    return problem.highest(open_C, entropy(problem.trained.both.probabilities(x_CD)))
