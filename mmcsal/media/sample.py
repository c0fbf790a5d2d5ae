"""Which part of a sample is decoded, and which frames of it. Pure arithmetic."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A part of a file, in seconds of the player's clock."""

    start_s: float
    duration_s: float


def part_of(begin_s: float, end_s: float, start_s: float | None, duration_s: float | None) -> Window:
    """The part of a file's picture that is the sample.

    Args:
        begin_s: when the file's picture begins.
        end_s: when it ends.
        start_s: where the sample begins; None = with the picture.
        duration_s: how long the sample is; None = to the end of the picture.

    Returns:
        the part; its duration is 0 or less where the sample lies outside of the picture.
    """
    begin = begin_s if start_s is None else max(start_s, begin_s)
    end = end_s if duration_s is None else min((start_s or 0.0) + duration_s, end_s)
    return Window(begin, end - begin)


def choose_window(part: Window, window_s: float, where: str = "middle") -> Window:
    """The `window_s` of a sample at its middle or its start, or all of a shorter one."""
    if part.duration_s <= window_s:
        return part
    offset_s = 0.0 if where == "start" else (part.duration_s - window_s) / 2
    return Window(part.start_s + offset_s, window_s)


def choose_frames(frame_times_s: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """The frame that is on screen at each time.

    Args:
        frame_times_s: when each frame of the file appears, ascending, float [num frames in the file].
        times_s: ascending, float [T].

    Returns:
        ascending frame indices, int64 [T]; short videos repeat frames.
    """
    shown = np.searchsorted(frame_times_s, times_s, side="right") - 1
    return np.clip(shown, 0, len(frame_times_s) - 1)


def slice_middles_s(window: Window, num_slices: int) -> np.ndarray:
    """The middles of equal slices of a window, in seconds of the file, ascending, float64 [num_slices]."""
    return window.start_s + (np.arange(num_slices) + 0.5) * (window.duration_s / num_slices)
