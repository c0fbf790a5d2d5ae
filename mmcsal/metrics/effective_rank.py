"""How many dimensions embeddings make use of."""

import torch
from torch import Tensor


def effective_rank(x_ND: Tensor) -> Tensor:
    """exp of the entropy of the singular values of the centred embeddings, as shares of their sum.

    Args:
        x_ND: embeddings of one modality.
    Returns: scalar in [1, min(N - 1, D)]; 1 where they lie on a line, or in one point.
    Raises: ValueError: N < 2.
    Source: Roy & Vetterli, EUSIPCO 2007; Garrido et al. (RankMe), ICML 2023, as a label-free sign of collapse.
    """
    if x_ND.ndim != 2 or len(x_ND) < 2:
        raise ValueError(f"effective_rank: expected [N >= 2, D], got {tuple(x_ND.shape)}")
    values = torch.linalg.svdvals((x_ND - x_ND.mean(dim=0)).double())
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.special.entr(share).sum().exp()
