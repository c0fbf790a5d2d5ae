"""Encoders, projection heads and the two-tower model; the unions below are the closed list of encoders.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
B      samples of one batch
T      frames of a clip, or time steps of a spectrogram
C      channels, or features
L      samples of a waveform
F      mel bands
M      masks of a spectrogram
X      places along one of its axes
=====  ==========================================
"""

from typing import Annotated

import torch
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.models.encoders.audio.resnet18 import ResnetAudioSpec
from mmcsal.models.encoders.audio.tiny import TinyAudioSpec
from mmcsal.models.encoders.video.r2plus1d_18 import R2plus1dVideoSpec
from mmcsal.models.encoders.video.resnet18 import ResnetVideoSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.models.heads import ProjectionSpec
from mmcsal.models.two_tower import TwoTower

VideoEncoderSpec = Annotated[TinyVideoSpec | ResnetVideoSpec | R2plus1dVideoSpec, Field(discriminator="kind")]
AudioEncoderSpec = Annotated[TinyAudioSpec | ResnetAudioSpec, Field(discriminator="kind")]


class ModelSpec(Spec):
    """Which encoders, and the head that both get."""

    video: VideoEncoderSpec = TinyVideoSpec()
    audio: AudioEncoderSpec = TinyAudioSpec()
    head: ProjectionSpec = ProjectionSpec()


def build_model(spec: ModelSpec, *, seed: int) -> TwoTower:
    """The model with weights drawn from `seed` alone; torch's global generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TwoTower(spec.video.build(), spec.audio.build(), spec.head)


__all__ = ["AudioEncoderSpec", "ModelSpec", "TwoTower", "VideoEncoderSpec", "build_model"]
