"""Normalisation statistics for clips as they are.

Training sees windows, crops and noise; evaluation and embedding see whole clean clips. The running statistics of the
heads' BatchNorm, taken in training, are therefore off by a little, for each modality in its own direction: that alone
opens a modality gap that training had closed.

Source:
    Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021 (PreciseBN).
"""

import torch
from torch import nn

from mmcsal.models.two_tower import TwoTower
from mmcsal.tensors.collectives import broadcast
from mmcsal.training.embed import Pair


@torch.no_grad()
def calibrate_norms(model: TwoTower, features: Pair) -> None:
    """Sets the running statistics of both heads to those of fixed clips.

    Training does not read these statistics: it goes on as if nothing had happened.

    Args:
        features: of clips as they are, from `encode_batches`.
    """
    for head, features_NC in zip((model.video_head, model.audio_head), features, strict=True):
        hidden_NC = head.hidden(features_NC.to(head.hidden.weight)).double()
        assert head.norm.running_mean is not None
        assert head.norm.running_var is not None
        head.norm.running_mean.copy_(hidden_NC.mean(dim=0))
        head.norm.running_var.copy_(hidden_NC.var(dim=0, correction=min(1, len(hidden_NC) - 1)))


def share_norms(model: nn.Module) -> None:
    """The first worker's buffers on every worker, after it has calibrated: they then hold the same model."""
    for buffer in model.buffers():
        broadcast(buffer)
