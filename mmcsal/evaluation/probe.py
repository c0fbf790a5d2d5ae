"""The downstream model on embeddings: a linear classifier on both modalities side by side, and one on each alone.

The paper's downstream task is a classifier on the concatenation of both modalities. On frozen embeddings that is
multinomial logistic regression, whose fit has one optimum: no seed, no schedule.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.contracts.ids import hash_ids
from mmcsal.evaluation.samples import Samples
from mmcsal.metrics.linear_probe import fit_logistic
from mmcsal.selection.strategies.classifier import FusedClassifier, Head

MAX_VALIDATED = 4000


def fit_classifier(a_ND: np.ndarray, v_ND: np.ndarray, labels: Sequence[str], *, c: float = 10.0) -> FusedClassifier:
    """The classifier of these samples, its classes in the order of their names.

    Args:
        a_ND: embeddings of the two modalities, row by row; normalised here.
        v_ND: see `a_ND`.
        c: inverse of the regularisation, as scikit-learn's LogisticRegression has it.

    Raises:
        ValueError: lengths differ, or there are no rows.
    """
    classes, number_N = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    label_N = torch.from_numpy(number_N)
    views = [unit(x_ND) for x_ND in (a_ND, v_ND)]
    both, first, second = (_head(x_ND, label_N, c) for x_ND in (torch.cat(views, dim=1), *views))
    return FusedClassifier(tuple(classes.tolist()), both, (first, second))


def fit_samples(samples: Samples, *, c: float = 10.0) -> FusedClassifier:
    """The classifier of all these samples; see `fit_classifier`."""
    return fit_classifier(samples.a_ND, samples.v_ND, samples.labels, c=c)


def cross_validated(samples: Samples, *, num_folds: int = 5, c: float = 10.0) -> float | None:
    """Accuracy on samples that a classifier of the others has not seen, over all folds; None of too few samples.

    The folds follow the order of ids within each class, so they are the same every time. Of many samples those of
    lowest hash are taken: a few thousand tell the accuracy to a point.
    """
    if len(samples) < 2 * num_folds:
        return None
    if len(samples) > MAX_VALIDATED:
        samples = samples.take(np.sort(np.argsort(hash_ids(samples.ids.tolist(), salt="folds"))[:MAX_VALIDATED]))
    order = np.argsort(samples.label_N, kind="stable")
    fold_N = np.empty(len(samples), np.int64)
    fold_N[order] = np.arange(len(samples)) % num_folds
    num_right = 0
    for fold in range(num_folds):
        seen, unseen = samples.take(np.flatnonzero(fold_N != fold)), samples.take(np.flatnonzero(fold_N == fold))
        found = fit_samples(seen, c=c)
        x_ND = torch.cat([unit(unseen.a_ND), unit(unseen.v_ND)], dim=1).numpy()
        guesses = [found.classes[n] for n in found.both.logits(x_ND).argmax(axis=1)]
        num_right += sum(guess == label for guess, label in zip(guesses, unseen.labels, strict=True))
    return num_right / len(samples)


def unit(x_ND: np.ndarray) -> Tensor:
    """Rows at unit norm, float64."""
    return F.normalize(torch.from_numpy(np.asarray(x_ND, np.float64)), dim=1)


def _head(x_ND: Tensor, label_N: Tensor, c: float) -> Head:
    weight_DC, bias_C, _ = fit_logistic(x_ND, label_N, l2=1 / (c * len(x_ND)), max_iterations=500)
    return Head(weight_DC.numpy(), bias_C.numpy())
