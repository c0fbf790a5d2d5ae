"""L_proto: uni-modal prototypes by swapped assignment inside one modality.

Source:
    Caron et al. (SwAV), NeurIPS 2020; Cuturi, NeurIPS 2013 (Sinkhorn).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.tensors.collectives import gather_rows, logsumexp_rows, num_workers, worker_rank


class SwavSpec(Spec):
    """Parameters of the prototype loss."""

    kind: Literal["swav"] = "swav"
    num_prototypes: int = Field(default=64, ge=2)  # per modality
    sinkhorn_epsilon: float = Field(default=0.05, ge=0.001)  # entropy of the assignment: smaller = harder
    sinkhorn_iterations: int = Field(default=3, ge=1)
    temperature: float = Field(default=0.1, gt=0)  # of the predicted assignment
    frozen_epochs: int = Field(default=1, ge=0)  # epochs at the start in which the prototypes stay as drawn
    # Embeddings of earlier steps that take part in the assignment, for batches of fewer rows than prototypes; 0 = none.
    queue_rows: int = Field(default=0, ge=0)


@torch.no_grad()
def sinkhorn(scores_BK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignment of the rows of all workers to prototypes, each prototype getting about the same mass.

    In the log domain and in float32 or wider, whatever autocast says: the plain form overflows at small epsilon.

    Args:
        scores_BK: similarity of this worker's rows to the prototypes; workers may hold different numbers of rows.

    Returns:
        Q, [B, K], rows sum to 1; columns sum to (rows of all workers) / K as the iterations go on.
    """
    with torch.autocast(scores_BK.device.type, enabled=False):
        wide = torch.promote_types(scores_BK.dtype, torch.float32)
        log_q_BK = scores_BK.to(wide) / epsilon
        for _ in range(iterations):
            # Up to a constant that the rows' turn takes out again.
            log_q_BK = log_q_BK - logsumexp_rows(log_q_BK)
            log_q_BK = log_q_BK - log_q_BK.logsumexp(dim=1, keepdim=True)
        return log_q_BK.exp()


def swav_loss(
    view1_BD: Tensor, view2_BD: Tensor, prototypes_KD: Tensor, spec: SwavSpec, queued_QD: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of each view's prediction against the other view's assignment, over this worker's rows.

    Args:
        view1_BD: unit-norm embeddings of two views of the same samples, one modality.
        view2_BD: see `view1_BD`.
        prototypes_KD: unit-norm rows.
        queued_QD: this worker's share of the embeddings of earlier steps: they weigh in the assignment alone.
    """
    scores1_BK, scores2_BK = view1_BD @ prototypes_KD.T, view2_BD @ prototypes_KD.T
    queued_QK = None if queued_QD is None else queued_QD @ prototypes_KD.T
    assigned1_BK, assigned2_BK = (_assign(scores_BK, queued_QK, spec) for scores_BK in (scores1_BK, scores2_BK))
    log_p1_BK = F.log_softmax(scores1_BK / spec.temperature, dim=1)
    log_p2_BK = F.log_softmax(scores2_BK / spec.temperature, dim=1)
    return -((assigned2_BK * log_p1_BK).sum(dim=1) + (assigned1_BK * log_p2_BK).sum(dim=1)).mean() / 2


@torch.no_grad()
def _assign(scores_BK: Tensor, queued_QK: Tensor | None, spec: SwavSpec) -> Tensor:
    all_scores = scores_BK if queued_QK is None else torch.cat((scores_BK, queued_QK))
    return sinkhorn(all_scores, spec.sinkhorn_epsilon, spec.sinkhorn_iterations)[: len(scores_BK)]


class Swav(nn.Module):
    """`swav_loss` with the learned prototypes of one modality, drawn at random on the unit sphere.

    The queue holds the same rows on every worker, in the order of the global batches; each puts its share of them in.
    """

    def __init__(self, spec: SwavSpec, embedding_width: int):
        super().__init__()
        self.spec = spec
        self.prototypes = nn.Parameter(F.normalize(torch.randn(spec.num_prototypes, embedding_width), dim=1))
        self.queue_QD: Tensor
        self.num_queued: Tensor
        self.register_buffer("queue_QD", torch.zeros(spec.queue_rows, embedding_width))
        self.register_buffer("num_queued", torch.zeros((), dtype=torch.int64))

    def forward(self, view1_BD: Tensor, view2_BD: Tensor, assigned_B: Tensor | None = None) -> Tensor:
        """See `swav_loss`; in training the first view joins the queue, which is used once it is full.

        Args:
            assigned_B: not used: these prototypes assign by themselves.
        """
        is_full = 0 < self.spec.queue_rows <= int(self.num_queued)
        share_QD = self.queue_QD[worker_rank() :: num_workers()].to(view1_BD.dtype) if is_full else None
        loss = swav_loss(view1_BD, view2_BD, self.prototypes, self.spec, share_QD)
        if self.training and self.spec.queue_rows:
            self._enqueue(gather_rows(view1_BD.detach()))
        return loss

    @torch.no_grad()
    def _enqueue(self, rows_BD: Tensor) -> None:
        """The newest rows first; the oldest leave."""
        kept_QD = torch.cat((rows_BD.to(self.queue_QD.dtype), self.queue_QD))[: len(self.queue_QD)]
        self.queue_QD.copy_(kept_QD)
        self.num_queued += len(rows_BD)

    @torch.no_grad()
    def before_step(self) -> None:
        """Brings the prototypes back to unit norm; call before each step."""
        self.prototypes.copy_(F.normalize(self.prototypes, dim=1))

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """The parameters that must not move in this epoch (from 0)."""
        return [self.prototypes] if epoch < self.spec.frozen_epochs else []

    @property
    def current_KD(self) -> Tensor:
        """The prototypes as they are, detached."""
        return self.prototypes.detach()
