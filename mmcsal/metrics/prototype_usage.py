"""How many of the prototypes are in use."""

import torch
from torch import Tensor


def prototype_usage(x_ND: Tensor, prototypes_KD: Tensor) -> Tensor:
    """Perplexity of the nearest-prototype counts over K: 1 = all alike, 1 / K = all samples at one.

    Args:
        x_ND: unit-norm embeddings of one modality.
        prototypes_KD: unit-norm prototypes of it.

    Returns:
        scalar in [1 / K, 1].

    Raises:
        ValueError: N == 0, or the widths differ.
    """
    if x_ND.ndim != 2 or len(x_ND) == 0 or x_ND.shape[1:] != prototypes_KD.shape[1:]:
        raise ValueError(f"prototype_usage: got {tuple(x_ND.shape)} rows and {tuple(prototypes_KD.shape)} prototypes")
    num_prototypes = len(prototypes_KD)
    counts_K = torch.bincount((x_ND @ prototypes_KD.T).argmax(dim=1), minlength=num_prototypes).double()
    share_K = counts_K / counts_K.sum()
    return torch.special.entr(share_K).sum().exp() / num_prototypes
