"""How far apart the two modalities of one sample lie: what Wang & Isola call alignment.

Source: Wang & Isola, "Understanding Contrastive Representation Learning", ICML 2020.
"""

from torch import Tensor

from mmcsal.metrics.checks import check_pairs


def positive_pair_distance(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """Mean squared distance of true pairs.

    Args:
        a_ND, b_ND: unit-norm embeddings, row i with row i.
    Returns: scalar in [0, 4], 0 = every pair in one point.
    Raises: ValueError: shapes differ, or N == 0.
    """
    check_pairs(a_ND, b_ND)
    return (a_ND - b_ND).square().sum(dim=1).mean()
