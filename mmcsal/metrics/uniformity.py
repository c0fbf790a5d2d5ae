"""How evenly the embeddings of one modality cover the sphere.

Source:
    Wang & Isola, "Understanding Contrastive Representation Learning", ICML 2020.
"""

import math

from mmcsal.metrics.arrays import Array, namespace_of


def uniformity(x_ND: Array) -> Array:
    """log of the mean of exp(-2 d^2) over all pairs of different rows.

    Args:
        x_ND: unit-norm embeddings of one modality.

    Returns:
        scalar in [-8, 0], 0 = all in one point; about -4 on a wide sphere.

    Raises:
        ValueError: N < 2.
    """
    if x_ND.ndim != 2 or len(x_ND) < 2:
        raise ValueError(f"uniformity: expected [N >= 2, D], got {tuple(x_ND.shape)}")
    xp, num_rows = namespace_of(x_ND), len(x_ND)
    exponent_NN = -2 * (2 - 2 * x_ND @ x_ND.T).clip(min=0)  # in [-8, 0]: their exponentials can be summed as they are
    is_other_NN = 1 - xp.eye(num_rows, dtype=x_ND.dtype, device=x_ND.device)
    return xp.log((xp.exp(exponent_NN) * is_other_NN).sum()) - math.log(num_rows * (num_rows - 1))
