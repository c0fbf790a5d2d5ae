"""How far the two modalities are mixed in the space that they share."""

import torch
from torch import Tensor

from mmcsal.metrics.checks import check_pairs


def mix(a_ND: Tensor, b_ND: Tensor, *, num_neighbours: int = 10) -> Tensor:
    """Share of the other modality among the nearest neighbours of the pooled embeddings, itself left out.

    A closed gap between centroids is not yet mixed: two interleaved shells have no gap and a mix of 0.

    Args:
        a_ND: unit-norm embeddings of two modalities.
        b_ND: see `a_ND`.

    Returns:
        scalar in [0, 1]; 0.5 when a neighbour's modality is a coin toss.

    Raises:
        ValueError: shapes differ, or N == 0.
    """
    check_pairs(a_ND, b_ND)
    pooled = torch.cat((a_ND, b_ND))
    is_b = torch.arange(len(pooled), device=pooled.device) >= len(a_ND)
    similarity = pooled @ pooled.T
    similarity.fill_diagonal_(-torch.inf)
    neighbours = similarity.topk(min(num_neighbours, len(pooled) - 1), dim=1).indices
    return (is_b[neighbours] != is_b[:, None]).double().mean()
