"""ResNet-18 on one-channel log-mel spectrograms."""

from typing import Literal

from torch import Tensor, nn

from mmcsal.models.encoders.audio.log_mel import LogMel, LogMelSpec
from mmcsal.models.encoders.resnet_trunk import WIDTH, resnet18_features
from mmcsal.models.norms import NormedSpec


class ResnetAudioSpec(NormedSpec):
    """Parameters of the spectrogram ResNet-18."""

    kind: Literal["resnet18"] = "resnet18"
    log_mel: LogMelSpec = LogMelSpec()

    def build(self) -> "ResnetAudio":
        """The encoder, with fresh or loaded weights."""
        return ResnetAudio(self)


class ResnetAudio(nn.Module):
    """Waveform float [B, L] in [-1, 1] -> features [B, 512]."""

    def __init__(self, spec: ResnetAudioSpec):
        super().__init__()
        self.width = WIDTH
        self.log_mel = LogMel(spec.log_mel)
        self.spectrogram = resnet18_features(1, spec.weights, spec.norm)

    def forward(self, audio_BL: Tensor, mask_BM4: Tensor | None = None) -> Tensor:
        """See the class."""
        mel_BFT = self.log_mel(audio_BL, mask_BM4)
        std_B11, mean_B11 = mel_BFT.std(dim=(1, 2), keepdim=True), mel_BFT.mean(dim=(1, 2), keepdim=True)
        return self.spectrogram(((mel_BFT - mean_B11) / (std_B11 + 0.1))[:, None])
