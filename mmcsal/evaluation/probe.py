"""The downstream model on embeddings: a linear classifier on both modalities side by side, and one on each alone.

The paper's downstream task is a classifier on the concatenation of both modalities. On frozen embeddings that is
multinomial logistic regression, whose fit has one optimum: no seed, no schedule.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics.linear_probe import fit_logistic
from mmcsal.selection.classifier import FusedClassifier, Head


def fit_classifier(a_ND: np.ndarray, v_ND: np.ndarray, labels: Sequence[str], *, c: float = 10.0) -> FusedClassifier:
    """The classifier of these samples, its classes in the order of their names.

    Args:
        a_ND, v_ND: embeddings of the two modalities, row by row; normalised here.
        c: inverse of the regularisation, as scikit-learn's LogisticRegression has it.

    Raises: ValueError: lengths differ, or there are no rows.
    """
    classes, number_N = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    label_N = torch.from_numpy(number_N)
    views = [unit(x_ND) for x_ND in (a_ND, v_ND)]
    both, first, second = (_head(x_ND, label_N, c) for x_ND in (torch.cat(views, dim=1), *views))
    return FusedClassifier(tuple(classes.tolist()), both, (first, second))


def unit(x_ND: np.ndarray) -> Tensor:
    """Rows at unit norm, float64."""
    return F.normalize(torch.from_numpy(np.asarray(x_ND, np.float64)), dim=1)


def _head(x_ND: Tensor, label_N: Tensor, c: float) -> Head:
    weight_DC, bias_C, _ = fit_logistic(x_ND, label_N, l2=1 / (c * len(x_ND)), max_iterations=500)
    return Head(weight_DC.numpy(), bias_C.numpy())
