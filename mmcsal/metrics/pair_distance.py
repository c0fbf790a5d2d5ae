"""How far apart the two modalities of one sample lie: what Wang & Isola call alignment.

Source:
    Wang & Isola, "Understanding Contrastive Representation Learning", ICML 2020.
"""

from mmcsal.metrics.arrays import Array
from mmcsal.metrics.checks import check_pairs


def positive_pair_distance(a_ND: Array, b_ND: Array) -> Array:
    """Mean squared distance of true pairs.

    Args:
        a_ND: unit-norm embeddings, row i with row i.
        b_ND: see `a_ND`.

    Returns:
        scalar in [0, 4], 0 = every pair in one point.

    Raises:
        ValueError: shapes differ, or N == 0.
    """
    check_pairs(a_ND, b_ND)
    return ((a_ND - b_ND) ** 2).sum(axis=1).mean()
