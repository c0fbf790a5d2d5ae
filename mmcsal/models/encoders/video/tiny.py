"""Tiny video encoder for CPUs: sees what moves, and little else.

Gray frames minus their temporal mean: a static background vanishes, whatever its colour and gradient. Each frame is
then reduced to one vector that still knows where things are, and convolutions over time read the trajectory: a tenth
of the work of 3D convolutions, and better on few clips.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.models.encoders.conv_block import conv_block
from mmcsal.models.encoders.time_block import pool_time, time_block
from mmcsal.models.encoders.video.gray import to_gray

STILL = 1 / 1024  # standard deviation, of the full range, below which a clip does not move: under one step of uint8


class TinyVideoSpec(Spec):
    """Parameters of the tiny video encoder."""

    kind: Literal["tiny"] = "tiny"
    frame_size_px: int = Field(default=32, ge=8, multiple_of=4)  # frames are resized to this before the first block
    frame_widths: tuple[int, int] = (8, 16)  # channels of the two blocks on single frames; multiples of 4
    place_width: int = Field(default=64, ge=4, multiple_of=4)  # of the vector per frame
    time_width: int = Field(default=128, ge=16, multiple_of=16)  # of the convolutions over time

    @property
    def needs_color(self) -> bool:
        """Whether the encoder looks at colour; if not, training may hold gray frames only."""
        return False

    @property
    def depends_on_batch(self) -> bool:
        """Whether, in training, the features of a clip depend on the clips beside it: it has GroupNorm only."""
        return False

    def build(self) -> "TinyVideo":
        """The encoder, with fresh weights from torch's global generator."""
        return TinyVideo(self)


class TinyVideo(nn.Module):
    """Video float [B, T, H, W, C in (1, 3)] in [0, 1] -> features [B, width], for any T."""

    def __init__(self, spec: TinyVideoSpec):
        super().__init__()
        a, b = spec.frame_widths
        self.frame_size_px = spec.frame_size_px
        self.width = 2 * spec.time_width
        self.frames = nn.Sequential(conv_block(1, a), conv_block(a, b), nn.Flatten())
        self.place = nn.Linear(b * (spec.frame_size_px // 4) ** 2, spec.place_width, bias=False)
        self.place_norm = nn.GroupNorm(4, spec.place_width)
        self.time = nn.Sequential(
            time_block(spec.place_width, spec.time_width), time_block(spec.time_width, spec.time_width)
        )

    def forward(self, video_BTHWC: Tensor) -> Tensor:
        """See the class."""
        motion_BTHW = self._motion(to_gray(video_BTHWC)[..., 0])
        places = self.place(self.frames(motion_BTHW.flatten(0, 1)[:, None])).unflatten(0, motion_BTHW.shape[:2])
        return pool_time(self.time(F.relu(self.place_norm(places.transpose(1, 2)))))

    def _motion(self, gray_BTHW: Tensor) -> Tensor:
        """Small frames minus their temporal mean, of unit scale; zero in a clip that does not move."""
        gray_BTHW = _shrunk(gray_BTHW, self.frame_size_px)
        motion_BTHW = gray_BTHW - gray_BTHW.mean(dim=1, keepdim=True)
        # One scale per clip: the contrast between shape and background says nothing of the class.
        scale_B111 = motion_BTHW.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        # What is left of a still clip is rounding, which GroupNorm would blow up.
        return torch.where(scale_B111 > STILL, motion_BTHW / (scale_B111 + 0.02), 0.0)


def _shrunk(gray_BTHW: Tensor, size: int) -> Tensor:
    """Frames averaged down to [size, size]."""
    height, width = gray_BTHW.shape[-2:]
    if (height, width) == (size, size):
        return gray_BTHW
    if height % size or width % size:
        return F.interpolate(gray_BTHW, (size, size), mode="area")
    return F.avg_pool2d(gray_BTHW, (height // size, width // size))  # the same, in two thirds of the time
