"""The stride-2 block on single frames of the tiny video encoder."""

from torch import nn


def conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, GroupNorm, ReLU: [B, C_in, H, W] -> [B, C_out, ceil(H / 2), ceil(W / 2)].

    GroupNorm, not BatchNorm: the result of a clip does not depend on the clips beside it.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(out_channels // 4, out_channels),
        nn.ReLU(inplace=True),
    )
