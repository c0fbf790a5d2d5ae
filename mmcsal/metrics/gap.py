"""Modality gap."""

from mmcsal.metrics.arrays import Array, namespace_of
from mmcsal.metrics.checks import check_pairs


def modality_gap(a_ND: Array, b_ND: Array) -> Array:
    """Euclidean distance between the centroids of two modalities' embeddings.

    Two samples of one distribution are apart by about sqrt(2 / N) as well: that is the floor.

    Args:
        a_ND: unit-norm embeddings, float [N samples, D].
        b_ND: see `a_ND`.

    Returns:
        scalar in [0, 2].

    Raises:
        ValueError: shapes differ, or N == 0.

    Source:
        Liang et al., "Mind the Gap", NeurIPS 2022.
    """
    check_pairs(a_ND, b_ND)
    return namespace_of(a_ND).linalg.norm(a_ND.mean(axis=0) - b_ND.mean(axis=0))
