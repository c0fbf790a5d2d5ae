"""L_proto: uni-modal prototypes by swapped assignment inside one modality.

Source: Caron et al. (SwAV), NeurIPS 2020; Cuturi, NeurIPS 2013 (Sinkhorn).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.collectives import logsumexp_rows, num_workers
from mmcsal.contracts.spec import Spec


class SwavSpec(Spec):
    """Parameters of the prototype loss."""

    kind: Literal["swav"] = "swav"
    num_prototypes: int = Field(default=64, ge=2)  # per modality
    sinkhorn_epsilon: float = Field(default=0.05, ge=0.001)  # entropy of the assignment: smaller = harder
    sinkhorn_iterations: int = Field(default=3, ge=1)
    temperature: float = Field(default=0.1, gt=0)  # of the predicted assignment
    frozen_epochs: int = Field(default=1, ge=0)  # epochs at the start in which the prototypes stay as drawn


@torch.no_grad()
def sinkhorn(scores_BK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignment of the rows of all workers to prototypes, each prototype getting about the same mass.

    In the log domain and in float32 or wider, whatever autocast says: the plain form overflows at small epsilon.

    Args:
        scores_BK: similarity of this worker's rows to the prototypes.
    Returns: Q, [B, K], rows sum to 1; columns sum to (rows of all workers) / K as the iterations go on.
    """
    with torch.autocast(scores_BK.device.type, enabled=False):
        wide = torch.promote_types(scores_BK.dtype, torch.float32)
        log_q_BK = scores_BK.to(wide) / epsilon
        log_mass = math.log(len(scores_BK) * num_workers() / scores_BK.shape[1])
        for _ in range(iterations):
            log_q_BK = log_q_BK - logsumexp_rows(log_q_BK) + log_mass
            log_q_BK = log_q_BK - log_q_BK.logsumexp(dim=1, keepdim=True)
        return log_q_BK.exp()


def swav_loss(view1_BD: Tensor, view2_BD: Tensor, prototypes_KD: Tensor, spec: SwavSpec) -> Tensor:
    """Mean cross-entropy of each view's prediction against the other view's assignment, over this worker's rows.

    Args:
        view1_BD, view2_BD: unit-norm embeddings of two views of the same samples, one modality.
        prototypes_KD: unit-norm rows.
    """
    scores1_BK, scores2_BK = view1_BD @ prototypes_KD.T, view2_BD @ prototypes_KD.T
    assigned1_BK = sinkhorn(scores1_BK, spec.sinkhorn_epsilon, spec.sinkhorn_iterations)
    assigned2_BK = sinkhorn(scores2_BK, spec.sinkhorn_epsilon, spec.sinkhorn_iterations)
    log_p1_BK = F.log_softmax(scores1_BK / spec.temperature, dim=1)
    log_p2_BK = F.log_softmax(scores2_BK / spec.temperature, dim=1)
    return -((assigned2_BK * log_p1_BK).sum(dim=1) + (assigned1_BK * log_p2_BK).sum(dim=1)).mean() / 2


class Swav(nn.Module):
    """`swav_loss` with the learned prototypes of one modality, drawn at random on the unit sphere."""

    def __init__(self, spec: SwavSpec, embedding_width: int):
        super().__init__()
        self.spec = spec
        self.prototypes = nn.Parameter(F.normalize(torch.randn(spec.num_prototypes, embedding_width), dim=1))

    def forward(self, view1_BD: Tensor, view2_BD: Tensor) -> Tensor:
        """See `swav_loss`."""
        return swav_loss(view1_BD, view2_BD, self.prototypes, self.spec)

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        """Brings the rows back to unit norm; call before each step."""
        self.prototypes.copy_(F.normalize(self.prototypes, dim=1))
