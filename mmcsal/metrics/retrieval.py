"""Cross-modal retrieval."""

import torch
from torch import Tensor

from mmcsal.metrics.checks import check_labels, check_pairs

CHUNK = 4096  # queries at a time: bounds memory


def recall_at_1(query_ND: Tensor, target_ND: Tensor) -> Tensor:
    """Share of queries whose most similar target is their own partner (the first one of equals counts).

    Args:
        query_ND, target_ND: unit-norm embeddings of two modalities, row i with row i.
    Returns: scalar in [0, 1]; 1 / N by chance.
    Raises: ValueError: shapes differ, or N == 0.
    """
    check_pairs(query_ND, target_ND)
    own_N = torch.arange(len(query_ND), device=query_ND.device)
    return (nearest(query_ND, target_ND) == own_N).double().mean()


def class_recall_at_1(query_ND: Tensor, target_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Share of queries whose most similar target is of their own class.

    Args:
        labels_N: integer class of each pair.
    Returns: scalar in [0, 1].
    Raises: ValueError: shapes differ, or N == 0.
    """
    check_pairs(query_ND, target_ND)
    check_labels(query_ND, labels_N)
    return (labels_N[nearest(query_ND, target_ND)] == labels_N).double().mean()


def nearest(query_ND: Tensor, target_ND: Tensor) -> Tensor:
    """Index of the most similar target of each query, int64 [N]."""
    return torch.cat([(chunk @ target_ND.T).argmax(dim=1) for chunk in query_ND.split(CHUNK)])
