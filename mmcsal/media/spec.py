"""What a clip looks like once it is decoded."""

from pydantic import Field

from mmcsal.contracts.spec import Spec


class MediaSpec(Spec):
    """The fixed shape of every clip, and the patience with files that do not decode."""

    window_s: float = Field(default=10.0, gt=0)  # the middle of a longer sample; shorter sound is padded with silence
    num_frames: int = Field(default=16, ge=2)  # spread evenly over the window
    # The short side is scaled to this, the middle is cropped.
    frame_size_px: int = Field(default=112, ge=16, multiple_of=2)
    sample_rate_hz: int = Field(default=16000, ge=4000, le=48000)
    min_duration_s: float = Field(default=0.5, gt=0)  # a sample with less video or sound is rejected
    timeout_s: float = Field(default=60.0, gt=0)  # a file that takes longer to decode is rejected
    recycle_after_clips: int = Field(default=500, ge=1)  # a fresh decoder process: decoders leak

    @property
    def num_audio_samples(self) -> int:
        return round(self.window_s * self.sample_rate_hz)
