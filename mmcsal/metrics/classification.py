"""What a classifier's answers are worth beside their accuracy."""

from typing import Any

import torch
from torch import Tensor

NUM_BINS = 15


def answer_figures(probability_NC: Tensor, label_N: Tensor) -> dict[str, Any]:
    """`accuracy`, `macro_f1`, `calibration_error` and the list `class_recall` of the most likely classes."""
    guess_N, num_classes = probability_NC.argmax(dim=1), probability_NC.shape[1]
    return {
        "accuracy": (guess_N == label_N).double().mean().item(),
        "macro_f1": macro_f1(guess_N, label_N, num_classes).item(),
        "calibration_error": calibration_error(probability_NC, label_N).item(),
        "class_recall": class_recall(guess_N, label_N, num_classes).tolist(),
    }


def class_recall(guess_N: Tensor, label_N: Tensor, num_classes: int) -> Tensor:
    """Share of each class's samples that are found, float64 [C]; nan where there are none.

    Args:
        guess_N: class numbers in [0, C), int64.
        label_N: see `guess_N`.
    """
    hits_C = torch.bincount(label_N[guess_N == label_N], minlength=num_classes).double()
    return hits_C / torch.bincount(label_N, minlength=num_classes)


def macro_f1(guess_N: Tensor, label_N: Tensor, num_classes: int) -> Tensor:
    """Mean over the classes that occur of the harmonic mean of precision and recall, scalar in [0, 1].

    Arguments as of `class_recall`.
    """
    hits_C = torch.bincount(label_N[guess_N == label_N], minlength=num_classes).double()
    either_C = torch.bincount(label_N, minlength=num_classes) + torch.bincount(guess_N, minlength=num_classes)
    f1_C = 2 * hits_C / either_C.clamp_min(1)
    return f1_C[either_C > 0].mean()


def calibration_error(probability_NC: Tensor, label_N: Tensor, *, num_bins: int = NUM_BINS) -> Tensor:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their samples; in [0, 1].

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence_N, guess_N = probability_NC.double().max(dim=1)
    bin_N = (confidence_N * num_bins).ceil().long().clamp(1, num_bins) - 1
    gap_M = torch.zeros(num_bins, dtype=torch.float64).index_add_(
        0, bin_N, confidence_N - (guess_N == label_N).double()
    )
    return gap_M.abs().sum() / len(label_N)
