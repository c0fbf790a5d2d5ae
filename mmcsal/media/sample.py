"""Which part of a sample is decoded, and which frames of it. Pure arithmetic."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """The part of a file that becomes a clip, in seconds from the beginning of the file."""

    start_s: float
    duration_s: float


def choose_window(file_duration_s: float, start_s: float | None, duration_s: float | None, window_s: float) -> Window:
    """The middle `window_s` of a sample, or all of a shorter one.

    Args:
        file_duration_s: how long the file is.
        start_s: the part of the file that is the sample; None = from its beginning, to its end.
        duration_s: see `start_s`.

    Returns:
        the window; its duration is 0 or less where the sample begins after the end of the file.
    """
    begin = start_s or 0.0
    end = file_duration_s if duration_s is None else min(begin + duration_s, file_duration_s)
    length = end - begin
    if length <= window_s:
        return Window(begin, length)
    return Window(begin + (length - window_s) / 2, window_s)


def choose_frames(frame_times_s: np.ndarray, window: Window, num_frames: int) -> np.ndarray:
    """The frame that is on screen in the middle of each of `num_frames` equal slices of the window.

    Args:
        frame_times_s: when each frame of the file appears, ascending, float [num frames in the file].

    Returns:
        ascending frame indices, int64 [num_frames]; short videos repeat frames.
    """
    shown = np.searchsorted(frame_times_s, slice_middles_s(window, num_frames), side="right") - 1
    return np.clip(shown, 0, len(frame_times_s) - 1)


def slice_middles_s(window: Window, num_slices: int) -> np.ndarray:
    """The middles of equal slices of a window, in seconds of the file, ascending, float64 [num_slices]."""
    return window.start_s + (np.arange(num_slices) + 0.5) * (window.duration_s / num_slices)


def scaled_size(width_px: int, height_px: int, short_side_px: int) -> tuple[int, int]:
    """Width and height with the short side at `short_side_px` and the aspect ratio kept."""
    scale = short_side_px / min(width_px, height_px)
    return max(short_side_px, round(width_px * scale)), max(short_side_px, round(height_px * scale))
