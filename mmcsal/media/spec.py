"""What a clip looks like once it is decoded, what of a file it is made of, and how much a file may ask for."""

import importlib.util
from typing import Literal

from pydantic import Field, model_validator

from mmcsal.contracts.spec import Spec

INSTALLED_BY = {"decord": "pip install decord", "torchcodec": "pip install 'mmcsal[torchcodec]'"}


class MediaSpec(Spec):
    """The fixed shape of every clip, and the patience with files that do not decode."""

    window_s: float = Field(default=10.0, gt=0)  # of a longer sample; shorter sound is padded with silence
    # Where in a longer sample the window lies; segments: the scan makes a sample of each window of a longer one.
    window: Literal["middle", "start", "segments"] = "middle"
    num_frames: int = Field(default=16, ge=2)  # spread evenly over the window
    # uniform: the frame on screen in the middle of each slice; keyframes: the last key frame until then, which is fast.
    sampling: Literal["uniform", "keyframes"] = "uniform"
    # Of a folder of frames; None = they are spread evenly over their sound.
    folder_frame_rate_hz: float | None = Field(default=None, gt=0)
    # The short side is scaled to this, the middle is cropped.
    frame_size_px: int = Field(default=112, ge=16, multiple_of=2)
    sample_rate_hz: int = Field(default=16000, ge=4000, le=48000)
    min_duration_s: float = Field(default=0.5, gt=0)  # a sample with less video or sound is rejected
    # Counted from 0 among the streams of their kind, cover pictures aside; None = the one that players choose.
    video_stream: int | None = Field(default=None, ge=0)
    audio_stream: int | None = Field(default=None, ge=0)
    backend: Literal["auto", "pyav", "decord", "torchcodec"] = "auto"  # auto: PyAV, right for all files
    # What a file may ask for; more is rejected as too_large before anything is decoded.
    max_side_px: int = Field(default=16384, ge=16)
    max_pixels: int = Field(default=67_108_864, ge=256)  # of a frame: 8192 x 8192
    max_aspect: float = Field(default=32.0, ge=1)  # the long side as shown, in short sides
    max_frames: int = Field(default=10_000_000, ge=1)  # that a header promises: 92 hours at 30 a second
    max_streams: int = Field(default=64, ge=2)
    timeout_s: float = Field(default=60.0, gt=0)  # a file that takes longer to decode is rejected
    # What a decoder may take beside its libraries; a file that needs more is rejected.
    decoder_memory_bytes: int = Field(default=2 * 2**30, ge=2**28)
    recycle_after_clips: int = Field(default=500, ge=1)  # a fresh decoder process: decoders leak

    @model_validator(mode="after")
    def _backend_is_installed(self) -> "MediaSpec":
        if self.backend in INSTALLED_BY and importlib.util.find_spec(self.backend) is None:
            raise ValueError(f"backend is {self.backend}, which is not installed; {INSTALLED_BY[self.backend]}")
        return self

    @property
    def num_audio_samples(self) -> int:
        return round(self.window_s * self.sample_rate_hz)
