"""Normalisation statistics for clips as they are.

Training sees windows, crops and noise; evaluation and embedding see whole clean clips. The running statistics of the
heads' BatchNorm, taken in training, are therefore off by a little, for each modality in its own direction: that alone
opens a modality gap that training had closed.

Source: Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021 (PreciseBN).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from mmcsal.models.batch_norm import BatchNorm
from mmcsal.models.two_tower import TwoTower
from mmcsal.training.data import ClipBatch


class _Moments:
    """Sum and sum of squares of what enters a BatchNorm, in float64."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, torch.zeros(()), torch.zeros(())

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x_BC = inputs[0].double()
        self.count += len(x_BC)
        self.total = self.total.to(x_BC) + x_BC.sum(dim=0)
        self.squares = self.squares.to(x_BC) + x_BC.square().sum(dim=0)

    def store(self, norm: BatchNorm) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean_C = self.total / self.count
        norm.running_mean.copy_(mean_C)
        norm.running_var.copy_((self.squares / self.count - mean_C.square()) * self.count / max(1, self.count - 1))


@torch.no_grad()
def calibrate_norms(model: TwoTower, clips: Iterable[ClipBatch]) -> None:
    """Sets the running statistics of both heads to those of `clips`, in their order and without other workers.

    Training does not read these statistics: it goes on as if nothing had happened.
    Args:
        clips: fixed ones, such as those of `evaluate`.
    """
    norms = [model.video_head.norm, model.audio_head.norm]
    moments = [_Moments() for _ in norms]
    hooks = [norm.register_forward_pre_hook(m) for norm, m in zip(norms, moments, strict=True)]
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        for batch in clips:
            model(batch.video_BTHWC.to(device), batch.audio_BL.to(device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    for norm, m in zip(norms, moments, strict=True):
        m.store(norm)
