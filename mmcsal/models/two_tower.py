"""One encoder and one projection head per modality, into one embedding space."""

import torch
from torch import Tensor, nn

from mmcsal.models.heads import ProjectionHead, ProjectionSpec

MODALITIES = ("video", "audio")


class TwoTower(nn.Module):
    """Video and its sound -> a unit-norm embedding each, in one space."""

    def __init__(self, video_encoder: nn.Module, audio_encoder: nn.Module, head: ProjectionSpec):
        super().__init__()
        self.video_encoder, self.audio_encoder = video_encoder, audio_encoder
        self.video_head = ProjectionHead(head, int(video_encoder.width))  # pyright: ignore[reportArgumentType]
        self.audio_head = ProjectionHead(head, int(audio_encoder.width))  # pyright: ignore[reportArgumentType]

    def forward(self, video_BTHWC: Tensor, audio_BL: Tensor) -> tuple[Tensor, Tensor]:
        """(z_video [B, D], z_audio [B, D]).

        Args:
            video_BTHWC: uint8, or float in [0, 1].
            audio_BL: int16, or float in [-1, 1].
        """
        return self.project(*self.encode(video_BTHWC, audio_BL))

    def encode(
        self, video_BTHWC: Tensor, audio_BL: Tensor, mel_mask_BM4: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What both encoders make of the clips, (features [B, C1], features [B, C2]): nearly all of the work.

        Args:
            mel_mask_BM4: what to hide of the spectrograms, see `mask_mel`; None = nothing.
        """
        dtype = self.video_head.output.weight.dtype
        video_BTHWC, audio_BL = to_float(video_BTHWC, dtype), to_float(audio_BL, dtype)
        return self.video_encoder(video_BTHWC), self.audio_encoder(audio_BL, mel_mask_BM4)

    def project(self, video_BC: Tensor, audio_BC: Tensor) -> tuple[Tensor, Tensor]:
        """(z_video [B, D], z_audio [B, D]) of features from `encode`."""
        return self.video_head(video_BC), self.audio_head(audio_BC)


def to_float(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 -> [0, 1], int16 -> [-1, 1); floats only change their dtype."""
    if x.dtype == torch.uint8:
        return x.to(dtype) / 255
    if x.dtype == torch.int16:
        return x.to(dtype) / 32768
    return x.to(dtype)
