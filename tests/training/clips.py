"""Small clips whose content follows from their id."""

import numpy as np
import pyarrow as pa

from benchmarks.clips import clip_table

SHAPE = {"num_frames": 4, "frame_size_px": 16, "num_audio_samples": 4096}


def make_clips(sample_ids: list[str]) -> pa.Table:
    """Clips whose content follows from their id; the id's number is in the first pixel and the first sample."""
    numbers = [int(s[1:]) for s in sample_ids]
    frames = (SHAPE["num_frames"], SHAPE["frame_size_px"], SHAPE["frame_size_px"], 3)
    video = np.stack([np.random.default_rng(n).integers(0, 256, frames, dtype=np.uint8) for n in numbers])
    audio = np.stack([np.random.default_rng(n).integers(-9999, 9999, 4096, dtype=np.int16) for n in numbers])
    video[:, 0, 0, 0, :] = np.array(numbers)[:, None]
    audio[:, 0] = numbers
    return clip_table(sample_ids, video, audio, duration_s=2.0, sample_rate_hz=16_000)
