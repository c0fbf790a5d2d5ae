"""Modality gap."""

from torch import Tensor

from mmcsal.metrics.checks import check_pairs


def modality_gap(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """Euclidean distance between the centroids of two modalities' embeddings.

    Two samples of one distribution are apart by about sqrt(2 / N) as well: that is the floor.

    Args:
        a_ND, b_ND: unit-norm embeddings, float [N samples, D].
    Returns: scalar in [0, 2].
    Raises: ValueError: shapes differ, or N == 0.
    Source: Liang et al., "Mind the Gap", NeurIPS 2022.
    """
    check_pairs(a_ND, b_ND)
    return (a_ND.mean(dim=0) - b_ND.mean(dim=0)).norm()
