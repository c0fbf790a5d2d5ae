"""The `bmmal` strategy: BADGE with the gradients of both modalities, each scaled by what it contributes to the guess.

As in the authors' code. The contribution of a modality to the probability of a class is its Shapley value in the game
where a modality left out is a zero vector, phi_1 = (p - p_without_1 + p_without_2 - p_without_both) / 2, as a share:
|phi_1| / (|phi_1| + |phi_2|). Each modality's gradient is that of its own classifier for the class that both guess.

Source:
    Shen et al., "Towards Balanced Active Learning for Multimodal Classification", ACM MM 2023.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.classifier import FusedClassifier, features
from mmcsal.selection.strategies.gradient_draws import Factors, draw_gradients
from mmcsal.selection.strategies.problem import Problem


class BmmalSpec(Spec):
    """Parameters of BMMAL: none but the bound."""

    kind: Literal["bmmal"] = "bmmal"
    # Pools beyond this many rows are refused: every draw is compared with each row, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: BmmalSpec) -> np.ndarray:
    """Open rows in the order of the draws, int64 [at most `problem.num_ranked`]."""
    open_C = np.flatnonzero(problem.is_open_N)
    factors = balanced_gradients(problem.trained, features(problem.joint_ND[open_C]))
    num_draws = min(problem.num_ranked, len(open_C))
    return open_C[draw_gradients(factors, num_draws, np.random.default_rng(problem.seed))]


def balanced_gradients(classifier: FusedClassifier, x_ND: np.ndarray) -> Factors:
    """The factors of each modality's gradient."""
    guess_N = classifier.both.logits(x_ND).argmax(axis=1)
    factors: Factors = []
    views, shares = classifier.views(x_ND), contributions(classifier, x_ND)
    for head, view_ND, share_NY in zip(classifier.alone, views, shares, strict=True):
        error_NY = head.probabilities(view_ND)
        error_NY[np.arange(len(x_ND)), guess_N] -= 1
        factors.append((error_NY * share_NY, view_ND))
    return factors


def contributions(classifier: FusedClassifier, x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of each modality in the probability of each class, two float64 [N, C] that sum to 1."""
    is_first_D = np.arange(x_ND.shape[1]) < classifier.width_a
    whole_NY, first_NY, second_NY, none_NY = (
        classifier.both.probabilities(x_ND * kept) for kept in (1.0, is_first_D, ~is_first_D, 0.0)
    )
    phi_1 = np.abs(whole_NY - second_NY + first_NY - none_NY)
    phi_2 = np.abs(whole_NY - first_NY + second_NY - none_NY)
    total_NY = phi_1 + phi_2
    share_NY = np.where(total_NY > 0, phi_1 / np.where(total_NY > 0, total_NY, 1), 0.5)
    return share_NY, 1 - share_NY
