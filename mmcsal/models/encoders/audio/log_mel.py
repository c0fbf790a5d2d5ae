"""Log-mel spectrograms: what every sound encoder looks at."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec

FLOOR = 1e-5  # of the mel power, about -50 dB under full scale: keeps silence finite and its noise out of sight


class LogMelSpec(Spec):
    """Parameters of the short-time Fourier transform and the mel filters."""

    kind: Literal["log_mel"] = "log_mel"
    sample_rate_hz: int = Field(default=16_000, ge=1000)
    window_samples: int = Field(default=512, ge=16)  # the length of the window and of the FFT
    hop_samples: int = Field(default=160, ge=1)  # between two time steps
    num_mel_bins: int = Field(default=64, ge=4)

    @model_validator(mode="after")
    def _hop_within_window(self) -> "LogMelSpec":
        if self.hop_samples > self.window_samples:
            raise ValueError(
                f"hop_samples {self.hop_samples} exceeds window_samples {self.window_samples}: sound is lost"
            )
        return self


class LogMel(nn.Module):
    """Waveform in [-1, 1], float [B, L] -> natural log of the mel power, [B, F, T], T = L // hop_samples + 1."""

    def __init__(self, spec: LogMelSpec):
        super().__init__()
        from torchaudio.transforms import MelScale, Spectrogram  # an extra: selection must import without it

        self.spectrum = Spectrogram(n_fft=spec.window_samples, hop_length=spec.hop_samples, power=None)
        self.mel = MelScale(spec.num_mel_bins, spec.sample_rate_hz, n_stft=spec.window_samples // 2 + 1)

    def forward(self, audio_BL: Tensor, mask_BM4: Tensor | None = None) -> Tensor:
        """See the class.

        Args:
            mask_BM4: what to hide of each clip, see `mask_mel`; None = nothing.
        """
        # Float32 even under autocast: the power spans more than half precision holds.
        with torch.autocast(audio_BL.device.type, enabled=False):
            wide_BL = audio_BL.to(torch.promote_types(audio_BL.dtype, torch.float32))
            # Both parts squared: torchaudio's own power takes a root and squares it again, at four times the cost.
            real_BFT, imaginary_BFT = torch.view_as_real(self.spectrum(wide_BL)).unbind(dim=-1)
            power_BFT = torch.addcmul(real_BFT * real_BFT, imaginary_BFT, imaginary_BFT)
            mel_BFT = self.mel(power_BFT).clamp_min(FLOOR).log()
            return mel_BFT if mask_BM4 is None else mask_mel(mel_BFT, mask_BM4)


def mask_mel(mel_BFT: Tensor, mask_BM4: Tensor) -> Tensor:
    """A spectrogram with M bands of frequencies and M spans of time of each clip set to the clip's mean.

    Args:
        mask_BM4: (begin and width of a band, begin and width of a span), as shares of all bands and steps; a begin
            of b and a width of w hide the places in [b (1 - w), b (1 - w) + w).

    Source:
        Park et al., "SpecAugment", Interspeech 2019.
    """
    hidden_BFT = torch.zeros_like(mel_BFT, dtype=torch.bool)
    for axis, (begin, width) in ((1, (0, 1)), (2, (2, 3))):
        num_places = mel_BFT.shape[axis]
        # The middle of each place, so that a width of 1 hides all of them and one of 0 none.
        place_X = (torch.arange(num_places, device=mel_BFT.device) + 0.5) / num_places
        width_BM1 = mask_BM4[:, :, width, None]
        begin_BM1 = mask_BM4[:, :, begin, None] * (1 - width_BM1)
        inside_BX = ((place_X >= begin_BM1) & (place_X < begin_BM1 + width_BM1)).any(dim=1)
        hidden_BFT |= inside_BX.unsqueeze(3 - axis)
    return torch.where(hidden_BFT, mel_BFT.mean(dim=(1, 2), keepdim=True), mel_BFT)


def log_mel(audio_BL: Tensor, spec: LogMelSpec | None = None) -> Tensor:
    """Natural log of the mel power, [B, F, T].

    Args:
        audio_BL: waveforms in [-1, 1], float.

    Raises:
        ValueError: not float [B, L], or shorter than one window.
    """
    spec = spec or LogMelSpec()
    if audio_BL.ndim != 2 or not audio_BL.is_floating_point() or audio_BL.shape[1] < spec.window_samples:
        raise ValueError(
            f"log_mel: expected float waveforms [B, L >= {spec.window_samples}], "
            f"got {audio_BL.dtype} {tuple(audio_BL.shape)}"
        )
    return LogMel(spec).to(audio_BL.device, audio_BL.dtype)(audio_BL)
