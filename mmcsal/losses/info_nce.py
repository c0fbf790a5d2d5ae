"""L_cross: symmetric InfoNCE between two modalities, negatives from all workers.

Source:
    van den Oord et al., arXiv 1807.03748; Radford et al. (CLIP), ICML 2021.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.tensors.collectives import gather_rows, worker_rank

MAX_LOG_SCALE = math.log(100.0)


class InfoNceSpec(Spec):
    """Parameters of the cross-modal contrastive loss."""

    kind: Literal["info_nce"] = "info_nce"
    # Of the softmax over similarities; the start value when learned.
    temperature: float = Field(default=0.2, ge=0.01, le=1.0)
    learn_temperature: bool = False  # a fixed one keeps the modality gap small: a learned one sharpens and widens it


def own_log_p(a_BD: Tensor, b_BD: Tensor, scale: Tensor | float) -> Tensor:
    """The log of the probability of each row's own partner among the rows of all workers, mean over both directions.

    Args:
        a_BD: unit-norm embeddings of this worker's pairs, row i with row i.
        b_BD: see `a_BD`.
        scale: 1 / temperature.

    Returns:
        [B], of this worker's rows.

    Raises:
        ValueError: shapes differ, or B == 0.
    """
    if a_BD.shape != b_BD.shape or len(a_BD) == 0:
        raise ValueError(f"info_nce: expected two equal shapes [B > 0, D], got {a_BD.shape} and {b_BD.shape}")
    own_B = torch.arange(len(a_BD), device=a_BD.device) + worker_rank() * len(a_BD)
    loss_ab = F.cross_entropy(scale * a_BD @ gather_rows(b_BD).T, own_B, reduction="none")
    loss_ba = F.cross_entropy(scale * b_BD @ gather_rows(a_BD).T, own_B, reduction="none")
    return -(loss_ab + loss_ba) / 2


def info_nce(a_BD: Tensor, b_BD: Tensor, scale: Tensor | float) -> Tensor:
    """Less the mean of `own_log_p`: the cross-entropy; arguments and errors as there.

    Returns:
        scalar, the mean over this worker's rows (the workers' mean is the loss of the global batch).
    """
    return -own_log_p(a_BD, b_BD, scale).mean()


class InfoNce(nn.Module):
    """`info_nce` with its scale exp(l), fixed or learned."""

    def __init__(self, spec: InfoNceSpec):
        super().__init__()
        log_scale = torch.tensor(-math.log(spec.temperature))
        if spec.learn_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def own_log_p(self, a_BD: Tensor, b_BD: Tensor) -> Tensor:
        """See the function of this name."""
        return own_log_p(a_BD, b_BD, self.log_scale.exp())

    def forward(self, a_BD: Tensor, b_BD: Tensor) -> Tensor:
        """See `info_nce`."""
        return info_nce(a_BD, b_BD, self.log_scale.exp())

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Holds l in [0, ln 100]; call after each optimizer step."""
        self.log_scale.clamp_(0.0, MAX_LOG_SCALE)

    @property
    def temperature(self) -> float:
        """1 / scale, as it stands now."""
        return float((-self.log_scale.detach()).exp())
