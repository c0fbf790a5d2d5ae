"""ResNet-18 on one-channel log-mel spectrograms."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.models.log_mel import LogMel, LogMelSpec
from mmcsal.models.resnet18 import WIDTH, resnet18_features


class ResnetAudioSpec(Spec):
    """Parameters of the spectrogram ResNet-18."""

    kind: Literal["resnet18"] = "resnet18"
    log_mel: LogMelSpec = LogMelSpec()
    weights: Path | None = None  # a local file of torchvision's resnet18 state dict; None = random

    def build(self) -> "ResnetAudio":
        """The encoder, with fresh or loaded weights."""
        return ResnetAudio(self)


class ResnetAudio(nn.Module):
    """Waveform float [B, L] in [-1, 1] -> features [B, 512]."""

    def __init__(self, spec: ResnetAudioSpec):
        super().__init__()
        self.width = WIDTH
        self.log_mel = LogMel(spec.log_mel)
        self.spectrogram = resnet18_features(1, spec.weights)

    def forward(self, audio_BL: Tensor) -> Tensor:
        """See the class."""
        mel_BFT = self.log_mel(audio_BL)
        std_B11, mean_B11 = mel_BFT.std(dim=(1, 2), keepdim=True), mel_BFT.mean(dim=(1, 2), keepdim=True)
        return self.spectrogram(((mel_BFT - mean_B11) / (std_B11 + 0.1))[:, None])
