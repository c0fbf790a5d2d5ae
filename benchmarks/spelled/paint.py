"""Draws frames that spell their time and sings a pitch that does; writes them, lossless, as the material of all cases.

All is in the middle square of a frame, in shares of its side: corners that differ (dark; bright; bright with a dark
middle; none), a red patch below, and across the middle twelve cells with the time in 1/100 s, in Gray code, between a
bright and a dark cell. The pitch is 400 Hz at the beginning and 100 Hz higher a second later, and so on.
"""

import subprocess
import wave
from pathlib import Path

import numpy as np

FRAME_RATE_HZ = 25
SAMPLE_RATE_HZ = 48_000
DARK, MIDDLE, BRIGHT, RED = (16,) * 3, (110,) * 3, (235,) * 3, (220, 20, 20)
NUM_BITS = 12
CELLS_Y = (0.40, 0.60)
CORNER = (0.06, 0.30)  # both ways, from the nearest edges
PATCH_X, PATCH_Y = (0.42, 0.58), (0.72, 0.94)
LOWEST_HZ, HZ_PER_S = 400.0, 100.0


def cell_x(cell: int) -> tuple[float, float]:
    """Where one of the cells lies: 0 is bright, the last is dark, the bits between them come highest first."""
    width = 0.92 / (NUM_BITS + 2)
    return 0.04 + cell * width, 0.04 + (cell + 1) * width


def paint(time_s: float, width_px: int, height_px: int) -> np.ndarray:
    """A frame, uint8 [H, W, 3]."""
    frame = np.full((height_px, width_px, 3), MIDDLE, np.uint8)
    left = (width_px - height_px) / 2

    def box(x: tuple[float, float], y: tuple[float, float], color: tuple[int, ...]) -> None:
        (x0, x1), (y0, y1) = ((round(v * height_px) for v in side) for side in (x, y))
        frame[y0:y1, round(left) + x0 : round(left) + x1] = color

    near, far = CORNER, (1 - CORNER[1], 1 - CORNER[0])
    box(near, near, DARK)
    box(far, near, BRIGHT)
    box(near, far, BRIGHT)
    box((0.14, 0.22), (0.78, 0.86), DARK)
    box(PATCH_X, PATCH_Y, RED)
    count = round(time_s * 100)
    gray_code = count ^ (count >> 1)
    for cell in range(NUM_BITS + 2):
        bright = cell == 0 or (cell <= NUM_BITS and gray_code >> (NUM_BITS - cell) & 1)
        box(cell_x(cell), CELLS_Y, BRIGHT if bright else DARK)
    return frame


def sing(duration_s: float) -> np.ndarray:
    """The sound, float [L] at `SAMPLE_RATE_HZ`."""
    t_L = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return 0.4 * np.sin(2 * np.pi * (LOWEST_HZ * t_L + HZ_PER_S * t_L**2 / 2))


def write_film(path: Path, duration_s: float, *, width_px: int, height_px: int, frame_rate_hz: int) -> None:
    """Writes the material: FFV1 and PCM, which lose nothing, in Matroska."""
    sound = path.with_suffix(".wav")
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.repeat((sing(duration_s) * 32767).astype("<i2")[:, None], 2, axis=1).tobytes())
    size = f"{width_px}x{height_px}"
    pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(frame_rate_hz), "-i", "-"]
    command = ["ffmpeg", "-y", "-v", "error", *pictures, "-i", str(sound), "-c:v", "ffv1", "-pix_fmt", "yuv444p"]
    frames = (paint(t / frame_rate_hz, width_px, height_px) for t in range(round(duration_s * frame_rate_hz)))
    subprocess.run([*command, "-c:a", "pcm_s16le", str(path)], input=b"".join(f.tobytes() for f in frames), check=True)
