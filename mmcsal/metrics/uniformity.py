"""How evenly the embeddings of one modality cover the sphere.

Source: Wang & Isola, "Understanding Contrastive Representation Learning", ICML 2020.
"""

import math

import torch
from torch import Tensor


def uniformity(x_ND: Tensor) -> Tensor:
    """log of the mean of exp(-2 d^2) over all pairs of different rows.

    Args:
        x_ND: unit-norm embeddings of one modality.
    Returns: scalar in [-8, 0], 0 = all in one point; about -4 on a wide sphere.
    Raises: ValueError: N < 2.
    """
    if x_ND.ndim != 2 or len(x_ND) < 2:
        raise ValueError(f"uniformity: expected [N >= 2, D], got {tuple(x_ND.shape)}")
    num_rows = len(x_ND)
    exponent_NN = -2 * (2 - 2 * x_ND @ x_ND.T).clamp_min(0)
    exponent_NN.fill_diagonal_(-torch.inf)
    return exponent_NN.flatten().logsumexp(dim=0) - math.log(num_rows * (num_rows - 1))
