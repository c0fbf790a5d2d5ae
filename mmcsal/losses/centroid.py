"""The centroid term: pulls the means of the two modalities together, which InfoNCE alone leaves apart."""

from torch import Tensor

from mmcsal.tensors.collectives import mean_rows


def centroid_loss(a_BD: Tensor, b_BD: Tensor) -> Tensor:
    """Squared distance between the means of two modalities' embeddings, means over the rows of all workers.

    Args:
        a_BD: unit-norm embeddings of this worker's rows.
        b_BD: see `a_BD`.

    Returns:
        scalar in [0, 4], the same on every worker.

    Raises:
        ValueError: shapes differ, or B == 0.
    """
    if a_BD.shape != b_BD.shape or len(a_BD) == 0:
        raise ValueError(f"centroid_loss: expected two equal shapes [B > 0, D], got {a_BD.shape} and {b_BD.shape}")
    return mean_rows(a_BD - b_BD).square().sum()
