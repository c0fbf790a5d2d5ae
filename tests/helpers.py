"""Small real media files whose content is known by time, and how long to wait for what others do."""

from pathlib import Path

import numpy as np

from mmcsal.datasets.synthetic.encode import write_mp4

# Who waits longer waits in vain: far more than anything takes, on a busy machine too.
TIME_LIMIT_S = 900
FRAME_RATE_HZ, SAMPLE_RATE_HZ = 16, 16000


def write_timed_clip(
    path: Path, duration_s: float, *, sound: bool = True, picture: bool = True, size_px: int = 64
) -> Path:
    """A clip that tells the time: brightness rises from 40 to 200, and the sound is a tone from half-time on."""
    t_T = np.arange(round(duration_s * FRAME_RATE_HZ)) / FRAME_RATE_HZ
    gray_T = np.uint8(40 + 160 * t_T / duration_s)
    frames_THWC = np.broadcast_to(gray_T[:, None, None, None], (len(t_T), size_px, size_px, 3))
    t_L = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound_L = np.float32(0.5 * np.sin(2 * np.pi * 440 * t_L) * (t_L >= duration_s / 2))
    write_mp4(
        str(path),
        frames_THWC=np.ascontiguousarray(frames_THWC) if picture else None,
        frame_rate_hz=FRAME_RATE_HZ,
        sound_L=sound_L if sound else None,
        sample_rate_hz=SAMPLE_RATE_HZ,
    )
    return path
