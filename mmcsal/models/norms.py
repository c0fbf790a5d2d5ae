"""Normalisation that does not depend on the batch, for networks that come with BatchNorm.

BatchNorm takes its statistics from the rows of one worker's micro-batch. A result then depends on how many workers
made it, and gradients that are accumulated over micro-batches are not those of the whole batch (GradCache, Gao 2021).
"""

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec

Norm = Literal["group", "frozen", "batch"]
MAX_GROUPS = 32  # Wu & He, "Group Normalization", 2018


class NormedSpec(Spec):
    """Weights and normalisation of an encoder of torchvision, to be completed with its `kind`."""

    weights: Path | None = None  # a local file of torchvision's state dict of the same name; None = random
    # group: GroupNorm. frozen: BatchNorm with the statistics of the file, never updated, affine trained. batch: as
    # torchvision has it. Left out or null: frozen where weights are given, group where they are random.
    norm: Norm = "group"

    @model_validator(mode="before")
    @classmethod
    def _norm_follows_weights(cls, content: Any) -> Any:
        # Before, so that the dumped spec names the norm: a checkpoint is rebuilt with `weights` set to None.
        if isinstance(content, dict) and content.get("norm") is None:
            return {**content, "norm": "group" if content.get("weights") is None else "frozen"}
        return content

    @property
    def depends_on_batch(self) -> bool:
        """Whether, in training, the features of a clip depend on the clips beside it."""
        return self.norm == "batch"


class FrozenBatchNorm(nn.Module):
    """What BatchNorm does in eval mode, in train mode too: [B, C, ...] -> [B, C, ...], affine trained."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d | nn.BatchNorm3d):
        """Takes over the statistics and the affine weights of `norm`."""
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def replace_batch_norms(net: nn.Module, norm: Norm) -> None:
    """Replaces each BatchNorm2d and BatchNorm3d inside `net`, which keeps its affine weights; "batch" changes nothing.

    Load weights first: GroupNorm has no statistics to load.
    """
    if norm == "batch":
        return
    make = _group_norm if norm == "group" else FrozenBatchNorm
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(module, name, make(child))


def _group_norm(norm: nn.BatchNorm2d | nn.BatchNorm3d) -> nn.GroupNorm:
    channels = norm.num_features
    # R(2+1)D has widths such as 45 and 921.
    num_groups = next(n for n in range(MAX_GROUPS, 0, -1) if channels % n == 0)
    group_norm = nn.GroupNorm(num_groups, channels, eps=norm.eps)
    with torch.no_grad():
        group_norm.weight.copy_(norm.weight)
        group_norm.bias.copy_(norm.bias)
    return group_norm
