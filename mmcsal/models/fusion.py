"""The downstream classifier from clips: both encoders, their features side by side, one linear layer."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmcsal.models.two_tower import TwoTower, to_float


class Logits(NamedTuple):
    """What the three linear layers make of clips, [B, number of classes] each."""

    both: Tensor
    video: Tensor
    audio: Tensor


class FusionClassifier(nn.Module):
    """Video and its sound -> logits of both together and of each alone.

    The layers on one modality alone see its features without a gradient: they tell what it knows of the classes, and
    the encoders are trained for both together.
    """

    def __init__(self, model: TwoTower, num_classes: int):
        """Takes over the encoders of `model`, not its projection heads.

        The linear layers begin at zero: a random one would first pull the features of trained encoders anywhere.
        """
        super().__init__()
        self.video_encoder, self.audio_encoder = model.video_encoder, model.audio_encoder
        width_of_video, width_of_audio = int(self.video_encoder.width), int(self.audio_encoder.width)  # pyright: ignore[reportArgumentType]
        self.both = _zero_linear(width_of_video + width_of_audio, num_classes)
        self.video = _zero_linear(width_of_video, num_classes)
        self.audio = _zero_linear(width_of_audio, num_classes)

    def forward(self, video_BTHWC: Tensor, audio_BL: Tensor, mel_mask_BM4: Tensor | None = None) -> Logits:
        """See the class; the arguments are those of `TwoTower.encode`."""
        dtype = self.both.weight.dtype
        video_BC = self.video_encoder(to_float(video_BTHWC, dtype))
        audio_BC = self.audio_encoder(to_float(audio_BL, dtype), mel_mask_BM4)
        return Logits(
            self.both(torch.cat((video_BC, audio_BC), dim=1)),
            self.video(video_BC.detach()),
            self.audio(audio_BC.detach()),
        )


def _zero_linear(width: int, num_classes: int) -> nn.Linear:
    layer = nn.Linear(width, num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
