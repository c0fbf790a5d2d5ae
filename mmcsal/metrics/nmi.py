"""How well clusters of embeddings match classes."""

import torch
from torch import Tensor

from mmcsal.metrics.checks import check_labels
from mmcsal.tensors.kmeans import nearest_centres, spherical_kmeans


def cluster_nmi(x_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Normalised mutual information of spherical k-means (as many clusters as classes) with the classes.

    Args:
        x_ND: unit-norm embeddings.
        labels_N: integer class of each row.

    Returns:
        scalar in [0, 1].

    Raises:
        ValueError: rows and labels do not fit, or there are none.
    """
    check_labels(x_ND, labels_N)
    classes, class_N = labels_N.unique(return_inverse=True)
    cluster_N, _ = nearest_centres(x_ND, spherical_kmeans(x_ND, len(classes)))
    return normalized_mutual_information(cluster_N, class_N)


def normalized_mutual_information(a_N: Tensor, b_N: Tensor) -> Tensor:
    """Mutual information of two labelings over the mean of their entropies, in [0, 1]; 1 where both are constant.

    Args:
        a_N: integers from 0.
        b_N: see `a_N`.
    """
    num_a, num_b = int(a_N.max()) + 1, int(b_N.max()) + 1
    joint_AB = torch.bincount(a_N * num_b + b_N, minlength=num_a * num_b).double().view(num_a, num_b) / len(a_N)
    entropy_a, entropy_b = (torch.special.entr(joint_AB.sum(dim=dim)).sum() for dim in (1, 0))
    mutual = entropy_a + entropy_b - torch.special.entr(joint_AB).sum()
    mean = (entropy_a + entropy_b) / 2
    return (mutual / mean).clamp(0, 1) if mean > 0 else torch.ones((), dtype=torch.float64)
