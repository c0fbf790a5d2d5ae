"""Reads what a decoded clip spells: when frames and sounds were made, which way is up, whether it is squashed."""

from dataclasses import dataclass

import numpy as np

from benchmarks.spelled.paint import (
    CELLS_Y,
    CORNER,
    HZ_PER_S,
    LOWEST_HZ,
    NUM_BITS,
    PATCH_X,
    PATCH_Y,
    cell_x,
)

PIECE_S, STEP_S = 0.3, 0.1
SILENT = 200  # of 32768
TURNS = {
    f"{'mirrored, ' if flip else ''}turned by {90 * quarter}": (flip, quarter)
    for flip in (0, 1)
    for quarter in range(4)
}
UPRIGHT = "turned by 0"


@dataclass(frozen=True)
class Spelled:
    """What a clip spells."""

    turned: str
    aspect: float  # width of a square mark over its height
    is_red: bool  # the red patch is red
    frame_lag_s: float  # what frames spell minus where they stand in the clip, median
    frame_spread_s: float  # largest distance from it
    sound_at_s: np.ndarray  # where in the clip pieces with sound stand, float [N]
    sound_lag_s: np.ndarray  # what they spell minus where they stand, float [N]

    @property
    def sound_minus_picture_s(self) -> float:
        return float(np.median(self.sound_lag_s)) - self.frame_lag_s


def read(video_THWC: np.ndarray, audio_L: np.ndarray, sample_rate_hz: int, duration_s: float) -> Spelled:
    """Reads a clip whose frames stand in the middles of equal slices of `duration_s`."""
    gray_THW = video_THWC.astype(float).mean(axis=-1)
    turned = min(TURNS, key=lambda name: _misfit(_turn(gray_THW[len(gray_THW) // 2], *TURNS[name])))
    gray_THW = np.stack([_turn(gray_HW, *TURNS[turned]) for gray_HW in gray_THW])
    stands_s = (np.arange(len(gray_THW)) + 0.5) * duration_s / len(gray_THW)
    lag_s = np.array([frame_time_s(gray_HW) for gray_HW in gray_THW]) - stands_s
    middle_HWC = _turn(video_THWC[len(video_THWC) // 2].astype(float), *TURNS[turned])
    red, green, blue = (_mean(middle_HWC[..., c], PATCH_X, PATCH_Y) for c in range(3))
    sound_at_s, sound_lag_s = _sound_lags(audio_L[: int(duration_s * sample_rate_hz)], sample_rate_hz)
    return Spelled(
        turned=turned,
        aspect=_aspect(gray_THW[len(gray_THW) // 2]),
        is_red=bool(red > green + 60 and red > blue + 60),
        frame_lag_s=float(np.median(lag_s)),
        frame_spread_s=float(np.abs(lag_s - np.median(lag_s)).max()),
        sound_at_s=sound_at_s,
        sound_lag_s=sound_lag_s,
    )


def frame_time_s(gray_HW: np.ndarray) -> float:
    """The instant that an upright frame spells."""
    values = [_mean(gray_HW, cell_x(cell), CELLS_Y) for cell in range(NUM_BITS + 2)]
    threshold = (values[0] + values[-1]) / 2
    count, bit = 0, 0
    for value in values[1:-1]:
        bit ^= int(value > threshold)
        count = count << 1 | bit
    return count / 100


def _mean(gray_HW: np.ndarray, x: tuple[float, float], y: tuple[float, float]) -> float:
    """Mean of the middle third of a box, where neighbours do not bleed into it."""
    (y0, y1), (x0, x1) = (
        (size * (2 * a + b) / 3, size * (a + 2 * b) / 3) for size, (a, b) in zip(gray_HW.shape, (y, x), strict=True)
    )
    return float(
        gray_HW[int(y0) : max(int(np.ceil(y1)), int(y0) + 1), int(x0) : max(int(np.ceil(x1)), int(x0) + 1)].mean()
    )


def _turn(frame_HWC: np.ndarray, flip: int, quarter: int) -> np.ndarray:
    return np.rot90(frame_HWC[:, ::-1] if flip else frame_HWC, quarter)


def _misfit(gray_HW: np.ndarray) -> float:
    """How far the corners are from those of an upright frame."""
    near, far, core = CORNER, (1 - CORNER[1], 1 - CORNER[0]), (0.14, 0.22)
    corners = [(near, near, 16), (far, near, 235), (core, (0.78, 0.86), 16), ((0.07, 0.13), (0.78, 0.86), 235)]
    return sum(abs(_mean(gray_HW, x, y) - value) for x, y, value in [*corners, (far, far, 110)])


def _aspect(gray_HW: np.ndarray) -> float:
    """Width over height of the dark corner."""
    middle = sum(CORNER) / 2
    y, x = (int(size * middle) for size in gray_HW.shape)
    dark_W, dark_H = gray_HW[y, : gray_HW.shape[1] // 2] < 63, gray_HW[: gray_HW.shape[0] // 3, x] < 63
    return float(dark_W.sum() / max(dark_H.sum(), 1))


def _sound_lags(audio_L: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """For pieces that sound from end to end: where their middles stand, and by how much they spell another time."""
    stands_s, lags_s = [], []
    length = int(PIECE_S * rate_hz)
    for start in range(0, len(audio_L) - length + 1, int(STEP_S * rate_hz)):
        piece = audio_L[start : start + length].astype(float)
        thirds = np.array_split(np.abs(piece), 12)
        if min(third.mean() for third in thirds) < SILENT:
            continue
        power = np.abs(np.fft.rfft(piece * np.hanning(length), 8 * length))
        pitch_hz = power.argmax() * rate_hz / (8 * length)
        middle_s = (start + length / 2) / rate_hz
        stands_s.append(middle_s)
        lags_s.append((pitch_hz - LOWEST_HZ) / HZ_PER_S - middle_s)
    return np.array(stands_s), np.array(lags_s)
