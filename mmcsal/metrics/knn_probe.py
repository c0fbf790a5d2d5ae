"""Accuracy of nearest neighbours on embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics.checks import check_labels


def knn_accuracy(
    train_ND: Tensor, train_labels_N: Tensor, test_ND: Tensor, test_labels_N: Tensor, *, num_neighbours: int = 5
) -> Tensor:
    """Share of test rows whose class has the most votes among their nearest training rows by cosine.

    Equal votes go to the class with the nearest single neighbour among those tied.

    Returns:
        scalar in [0, 1].

    Raises:
        ValueError: rows and labels do not fit, or there are none.
    """
    check_labels(train_ND, train_labels_N)
    check_labels(test_ND, test_labels_N)
    similarity = F.normalize(test_ND, dim=1) @ F.normalize(train_ND, dim=1).T
    top = similarity.topk(min(num_neighbours, len(train_ND)), dim=1).indices
    classes = train_labels_N[top]  # [N, k], nearest first
    votes = (classes[:, :, None] == classes[:, None, :]).sum(dim=2)
    rank = torch.arange(top.shape[1], device=top.device)
    best = (votes * top.shape[1] - rank).argmax(dim=1)
    return (classes.gather(1, best[:, None])[:, 0] == test_labels_N).double().mean()
