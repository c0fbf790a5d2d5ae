"""Accuracy of a linear classifier on embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics.checks import check_labels


def linear_accuracy(
    train_ND: Tensor,
    train_labels_N: Tensor,
    test_ND: Tensor,
    test_labels_N: Tensor,
    *,
    l2: float = 1e-4,
    max_iterations: int = 200,
) -> Tensor:
    """Share of test rows that multinomial logistic regression on the training rows gets right.

    Args:
        train_ND: embeddings, used as they are.
        test_ND: see `train_ND`.
        l2: weight of half the squared norm of the coefficients, beside the mean cross-entropy.

    Returns:
        scalar in [0, 1].

    Raises:
        ValueError: rows and labels do not fit, or there are none.
    """
    weight_DC, bias_C, classes_C = fit_logistic(train_ND, train_labels_N, l2=l2, max_iterations=max_iterations)
    check_labels(test_ND, test_labels_N)
    guess_N = (test_ND.double() @ weight_DC + bias_C).argmax(dim=1)
    return (classes_C[guess_N] == test_labels_N).double().mean()


def fit_logistic(
    x_ND: Tensor, labels_N: Tensor, *, l2: float = 1e-4, max_iterations: int = 200
) -> tuple[Tensor, Tensor, Tensor]:
    """Multinomial logistic regression by L-BFGS from zero, in float64; the bias is not penalised.

    Returns:
        coefficients [D, C], bias [C], the class of each column [C].

    Raises:
        ValueError: rows and labels do not fit, or there are none.
    """
    check_labels(x_ND, labels_N)
    x_ND = x_ND.detach().double()
    classes_C, target_N = labels_N.unique(return_inverse=True)
    weight_DC = torch.zeros(x_ND.shape[1], len(classes_C), dtype=torch.float64, device=x_ND.device, requires_grad=True)
    bias_C = torch.zeros(len(classes_C), dtype=torch.float64, device=x_ND.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight_DC, bias_C], max_iter=max_iterations, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x_ND @ weight_DC + bias_C, target_N) + 0.5 * l2 * weight_DC.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weight_DC.detach(), bias_C.detach(), classes_C
