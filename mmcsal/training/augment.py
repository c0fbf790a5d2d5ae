"""Random views of a batch, on tensors, on whatever device they lie.

What is random is drawn for the *global* batch from (seed, epoch, step), then each worker takes its rows: a view does
not depend on the number of workers. Crop and flip are drawn once per clip, never per frame, and the window in time is
one for both modalities of a view, so that their synchrony survives.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from mmcsal.contracts.spec import Spec
from mmcsal.models.encoders.video.gray import to_gray
from mmcsal.models.two_tower import to_float

WINDOW_STEPS = 16  # lengths of the window in time are multiples of a sixteenth of the clip


class View(NamedTuple):
    """One augmented view of a batch."""

    video_BTHWC: Tensor  # float in [0, 1]
    audio_BL: Tensor  # float
    mel_mask_BM4: Tensor  # what the sound encoder hides of the spectrogram, see `mask_mel`


class AugmentSpec(Spec):
    """How strongly the views of a clip differ."""

    min_crop: float = Field(default=0.8, gt=0, le=1)  # smallest side of a random crop, as a share of the frame
    flip: bool = True  # left and right, half of the clips
    brightness: float = Field(default=0.1, ge=0, le=1)  # largest shift, of the full range
    contrast: float = Field(default=0.3, ge=0, lt=1)  # factor in [1 - contrast, 1 + contrast]
    saturation: float = Field(default=0.3, ge=0, le=1)  # of colour frames: factor in [1 - saturation, 1 + saturation]
    # Of the window in time, as a share of the clip; drawn per step.
    min_duration: float = Field(default=0.75, gt=0, le=1)
    gain_db: float = Field(default=6.0, ge=0)  # sound: factor in [-gain_db, +gain_db]
    max_noise: float = Field(default=0.05, ge=0, le=1)  # sound: largest share of white noise, of the clip's own level
    jitter_s: float = Field(default=0.02, ge=0)  # largest shift of the sound against the video
    # SpecAugment: so many bands of frequencies and spans of time of the spectrogram are hidden, each up to a share.
    # None by default: on rendered sounds, whose classes differ by their partials, one mask cost class R@1 .996 -> .947.
    num_mel_masks: int = Field(default=0, ge=0)
    max_mel_band: float = Field(default=0.1, ge=0, le=1)
    max_mel_span: float = Field(default=0.1, ge=0, le=1)
    sample_rate_hz: int = Field(default=16_000, ge=1)

    @model_validator(mode="after")
    def _window_holds_frames(self) -> "AugmentSpec":
        if self.min_duration < 0.25:
            raise ValueError(f"min_duration {self.min_duration}: a window under a quarter of the clip holds no motion")
        return self


def random_views(
    video_BTHWC: Tensor,
    audio_BL: Tensor,
    spec: AugmentSpec,
    *,
    seed: int,
    epoch: int,
    step: int,
    rows: slice,
    global_batch_size: int,
    num_views: int = 2,
) -> list[View]:
    """Views of this worker's clips.

    Args:
        video_BTHWC: uint8, this worker's rows.
        audio_BL: int16, this worker's rows.
        rows: which rows of the global batch they are.
    """
    video_BTHWC, audio_BL = to_float(video_BTHWC), to_float(audio_BL)
    generator = step_generator(seed, epoch, step)
    # One length for the step, as tensors have one shape; up to the whole clip, which is what evaluation sees. Of a few
    # lengths, so that what is compiled or planned for a shape is used again.
    shortest = math.ceil(WINDOW_STEPS * spec.min_duration)
    window = int(torch.randint(shortest, WINDOW_STEPS + 1, (), generator=generator)) / WINDOW_STEPS
    views = []
    for _ in range(num_views):
        draw = Draw(global_batch_size, audio_BL.shape[1], rows, window, generator, audio_BL.device, spec.num_mel_masks)
        video = augment_video(video_BTHWC, draw, spec)
        views.append(View(video, augment_audio(audio_BL, draw, spec), mel_mask(draw, spec)))
    return views


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """A CPU generator fixed by (seed, epoch, step); on the CPU so that every device sees the same draws."""
    mixed = (seed * 1_000_003 + epoch) * 1_000_003 + step
    return torch.Generator().manual_seed(mixed % 2**63)


class Draw:
    """The random numbers of one view, for this worker's rows.

    `window` is the length of the window in time, as a share of the clip; all else is in [0, 1), to be scaled by the
    transforms.
    """

    def __init__(
        self,
        batch_size: int,
        num_samples: int,
        rows: slice,
        window: float,
        generator: torch.Generator,
        device: torch.device,
        num_mel_masks: int,
    ):
        self.window = window
        uniform = torch.rand(batch_size, 12, generator=generator)[rows].to(device)
        self.scale, self.x, self.y, self.flip, self.brightness, self.contrast, self.saturation = uniform[:, :7].unbind(
            1
        )
        self.start, self.gain, self.noise_level, self.noise_start, self.jitter = uniform[:, 7:].unbind(1)
        self.mask_BM4 = torch.rand(batch_size, num_mel_masks, 4, generator=generator)[rows].to(device)
        # One stretch of noise per step, which each clip reads from its own offset: noise per clip costs too much.
        self.noise = torch.randn(2 * num_samples, generator=generator).to(device)


def augment_video(video_BTHWC: Tensor, draw: Draw, spec: AugmentSpec) -> Tensor:
    """One view of the frames, float [B, T', H, W, C], T' = ceil(window * T)."""
    windowed = _time_window(video_BTHWC, draw)
    num_clips, num_frames, height, width, channels = windowed.shape
    side_B = spec.min_crop + (1 - spec.min_crop) * draw.scale
    mirror_B = torch.where(draw.flip < 0.5, -1.0, 1.0) if spec.flip else torch.ones_like(side_B)
    x_BW = _places(width, side_B * mirror_B, (1 - side_B) * (2 * draw.x - 1))
    y_BH = _places(height, side_B, (1 - side_B) * (2 * draw.y - 1))
    shape = (num_clips, height, width)
    grid = torch.stack((x_BW[:, None, :].expand(shape), y_BH[:, :, None].expand(shape)), dim=-1)
    # All frames of a clip share one grid, so frames go in as channels.
    stacked = windowed.permute(0, 1, 4, 2, 3).reshape(num_clips, num_frames * channels, height, width)
    cropped = F.grid_sample(stacked, grid, padding_mode="border", align_corners=False)
    contrast_B = 1 + spec.contrast * (2 * draw.contrast - 1)
    shift_B = 0.5 - 0.5 * contrast_B + spec.brightness * (2 * draw.brightness - 1)
    toned = cropped.mul_(_per_clip(contrast_B, 4)).add_(_per_clip(shift_B, 4))
    toned = toned.view(num_clips, num_frames, channels, height, width).permute(0, 1, 3, 4, 2)
    return _saturate(toned, draw, spec).clamp_(0, 1)


def _places(num_pixels: int, scale_B: Tensor, shift_B: Tensor) -> Tensor:
    """Where the middles of the pixels of a row or column are read, in [-1, 1], [B, num_pixels]."""
    middles = (2 * torch.arange(num_pixels, device=scale_B.device) + 1) / num_pixels - 1
    return torch.addcmul(shift_B[:, None], scale_B[:, None], middles)


def _saturate(video_BTHWC: Tensor, draw: Draw, spec: AugmentSpec) -> Tensor:
    """Moves colours away from gray or towards it; in place."""
    if video_BTHWC.shape[-1] == 1 or spec.saturation == 0:
        return video_BTHWC
    gray_BTHW1 = to_gray(video_BTHWC)
    factor_B = 1 + spec.saturation * (2 * draw.saturation - 1)
    return video_BTHWC.sub_(gray_BTHW1).mul_(_per_clip(factor_B, 5)).add_(gray_BTHW1)


def augment_audio(audio_BL: Tensor, draw: Draw, spec: AugmentSpec) -> Tensor:
    """One view of the waveform, float [B, L'], L' = ceil(window * L)."""
    num_samples = audio_BL.shape[1]
    kept = _num_kept(num_samples, draw)
    jitter_B = (spec.jitter_s * spec.sample_rate_hz * (2 * draw.jitter - 1)).round()
    start_B = (draw.start * (num_samples - kept + 1)).floor() + jitter_B
    start_B = start_B.clamp(0, num_samples - kept).long()
    # Rows of windows: whole stretches are copied, where an index for each sample would cost five times as much.
    windowed_BL = audio_BL.unfold(1, kept, 1)[torch.arange(len(start_B), device=start_B.device), start_B]
    noise_BL = draw.noise.unfold(0, kept, 1)[(draw.noise_start * num_samples).long()]
    level_B = spec.max_noise * draw.noise_level * windowed_BL.square().mean(dim=1).sqrt()
    gain_B = 10 ** (spec.gain_db * (2 * draw.gain - 1) / 20)
    return windowed_BL.addcmul(noise_BL, level_B[:, None]) * gain_B[:, None]


def mel_mask(draw: Draw, spec: AugmentSpec) -> Tensor:
    """What one view hides of each clip's spectrogram, [B, M, 4]: see `mask_mel`."""
    return draw.mask_BM4 * draw.mask_BM4.new_tensor((1, spec.max_mel_band, 1, spec.max_mel_span))


def _num_kept(length: int, draw: Draw) -> int:
    return max(1, math.ceil(length * draw.window))


def _time_window(video_BTHWC: Tensor, draw: Draw) -> Tensor:
    num_frames = video_BTHWC.shape[1]
    kept = _num_kept(num_frames, draw)
    if kept == num_frames:
        return video_BTHWC
    start_B = (draw.start * (num_frames - kept + 1)).floor().long()
    frames_BT = start_B[:, None] + torch.arange(kept, device=video_BTHWC.device)
    return video_BTHWC[torch.arange(len(video_BTHWC), device=video_BTHWC.device)[:, None], frames_BT]


def _per_clip(x_B: Tensor, ndim: int) -> Tensor:
    return x_B.reshape(-1, *([1] * (ndim - 1)))
