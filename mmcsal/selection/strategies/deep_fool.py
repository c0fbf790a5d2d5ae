"""The `deep_fool` strategy: the samples nearest to the border of another class, by the distance in feature space.

DeepFool walks to the border in small steps; the classifier is linear here, so the distance is exact after one.

Source:
    Ducoffe & Precioso, "Adversarial Active Learning for Deep Networks: a Margin Based Approach", 2018.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import features
from mmcsal.selection.strategies.problem import Problem


class DeepFoolSpec(Spec):
    """Parameters of DeepFool: none but the bound."""

    kind: Literal["deep_fool"] = "deep_fool"
    # Pools beyond this many rows are refused: they are scored on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 1_000_000


def rank_rows(problem: Problem, spec: DeepFoolSpec) -> np.ndarray:
    """Open rows by rising distance, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    return problem.highest(open_C, -border_distances(problem, features(problem.joint_ND[open_C])))


def border_distances(problem: Problem, x_ND: np.ndarray) -> np.ndarray:
    """How far each row would have to move for another class to win, float64 [N]."""
    head = problem.trained.both
    logits_NY, norm_Y = head.logits(x_ND), np.square(head.weight_DY).sum(axis=0)
    first_N = logits_NY.argmax(axis=1)
    apart_YY = norm_Y[:, None] + norm_Y[None, :] - 2 * head.weight_DY.T @ head.weight_DY
    length_NY = np.sqrt(np.maximum(apart_YY, 0))[first_N]
    lead_NY = np.take_along_axis(logits_NY, first_N[:, None], axis=1) - logits_NY
    with np.errstate(divide="ignore", invalid="ignore"):
        distance_NY = lead_NY / length_NY
    distance_NY[np.arange(len(x_ND)), first_N] = np.inf
    return np.nan_to_num(distance_NY, nan=np.inf, posinf=np.inf).min(axis=1)
