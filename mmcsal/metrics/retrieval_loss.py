"""Cross-entropy of cross-modal retrieval: recall's smooth companion, that also moves where recall stands still."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics.checks import check_pairs

CHUNK = 4096  # queries at a time: bounds memory


def retrieval_loss(a_ND: Tensor, b_ND: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Mean over both directions of the cross-entropy of each row's own partner among all rows of the other modality.

    The contrastive loss of one process: it never asks other workers, so that one of them may measure alone.

    Args:
        a_ND: unit-norm embeddings of two modalities, row i with row i.
        b_ND: see `a_ND`.

    Returns:
        scalar; ln N where embeddings tell nothing.

    Raises:
        ValueError: shapes differ, or N == 0.
    """
    check_pairs(a_ND, b_ND)
    own_N = torch.arange(len(a_ND), device=a_ND.device)
    total = a_ND.new_zeros(())
    for query_ND, target_ND in ((a_ND, b_ND), (b_ND, a_ND)):
        for query, own in zip(query_ND.split(CHUNK), own_N.split(CHUNK), strict=True):
            total = total + F.cross_entropy(query @ target_ND.T / temperature, own, reduction="sum")
    return total / (2 * len(a_ND))
