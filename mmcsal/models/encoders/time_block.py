"""The convolution over time that the tiny encoders end in."""

import torch
from torch import Tensor, nn


def time_block(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution over 3 steps, GroupNorm, ReLU: [B, C_in, T] -> [B, C_out, ceil(T / stride)]."""
    return nn.Sequential(
        nn.Conv1d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.GroupNorm(max(1, out_channels // 16), out_channels),
        nn.ReLU(inplace=True),
    )


def pool_time(features_BCT: Tensor) -> Tensor:
    """Mean and maximum over time, [B, 2 C]."""
    return torch.cat((features_BCT.mean(dim=2), features_BCT.amax(dim=2)), dim=1)
