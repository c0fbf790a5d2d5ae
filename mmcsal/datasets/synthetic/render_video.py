"""Draws the frames of a synthetic clip: one shape in one motion over a gradient, with distractors and noise.

Lengths are fractions of the frame's width, y points down. All motions meet the beat at whole `beat_T`: the bounce
lands, the slide and the orbit reach an end, the pulse snaps back. A slide or an orbit takes two beats a cycle, so
that it is seen as such at 4 frames/s and 3 Hz; the bounce sways a little at that rate.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Distractor:
    """A small square that drifts without a beat."""

    radius: float
    start_xy: tuple[float, float]
    velocity_xy: tuple[float, float]  # widths a second
    color_rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """What the frames show besides the class: lengths in frame widths, colours in [0, 1]."""

    radius: float
    center_xy: tuple[float, float]
    reach: float  # of the motion: height, half width, radius of the orbit, growth of the pulse
    turn: int  # +1 or -1: which way round
    angle_rad: float  # of a bar or a cross
    color_rgb: tuple[float, float, float]
    background_rgb: tuple[tuple[float, float, float], tuple[float, float, float]]  # at both ends of the gradient
    gradient_rad: float
    distractors: tuple[Distractor, ...]
    noise_std: float


def draw_look(rng: np.random.Generator, motion: str) -> Look:
    """Random nuisances of a clip; the shape stays inside the frame in every motion, its radius at least 18%."""
    radius = rng.uniform(0.18, 0.23)
    center_xy, reach = _draw_path(rng, motion, radius)
    if motion == "pulse":
        radius = 0.18  # at the beat; it grows from there
    middle_luma = rng.uniform(0.25, 0.75)
    slope = rng.uniform(-0.12, 0.12)
    return Look(
        radius=float(radius),
        center_xy=center_xy,
        reach=reach,
        turn=int(rng.choice([-1, 1])),
        angle_rad=float(rng.uniform(0, np.pi)),
        color_rgb=_draw_color(rng, _draw_contrasting_luma(rng, middle_luma)),
        background_rgb=(_draw_color(rng, middle_luma - slope), _draw_color(rng, middle_luma + slope)),
        gradient_rad=float(rng.uniform(0, 2 * np.pi)),
        distractors=tuple(_draw_distractor(rng) for _ in range(rng.integers(3))),
        noise_std=float(rng.uniform(0.01, 0.04)),
    )


def jitter_look(rng: np.random.Generator, look: Look) -> Look:
    """The look of a near-duplicate: shifted by about a pixel, slightly other colours and noise."""
    dx, dy = rng.normal(0, 0.008, 2)
    shade = rng.normal(0, 0.015)
    return replace(
        look,
        center_xy=(look.center_xy[0] + float(dx), look.center_xy[1] + float(dy)),
        color_rgb=_shaded(look.color_rgb, shade),
        background_rgb=(_shaded(look.background_rgb[0], shade), _shaded(look.background_rgb[1], shade)),
        noise_std=look.noise_std * float(rng.uniform(0.8, 1.25)),
    )


def render_frames(
    *,
    motion: str,
    shape: str,
    beat_T: np.ndarray,
    time_T: np.ndarray,
    look: Look,
    size_px: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Frames uint8 [T, size_px, size_px, 3].

    `beat_T` are the frames' times in beats (tempo * t + phase), `time_T` in seconds; `rng` draws the pixel noise.
    """
    frames_THWC = np.broadcast_to(_gradient_HWC(look, size_px), (len(beat_T), size_px, size_px, 3)).copy()
    for d in look.distractors:
        path_xy = [np.float32(d.start_xy[k]) + np.float32(d.velocity_xy[k]) * time_T for k in (0, 1)]
        alpha_THW = _coverage(_square_distance, path_xy[0], path_xy[1], np.full(len(beat_T), d.radius), 0.0, size_px)
        _paint(frames_THWC, alpha_THW, d.color_rgb)
    x_T, y_T, radius_T = _path(motion, beat_T, look)
    alpha_THW = _coverage(_DISTANCES[shape], x_T, y_T, radius_T, look.angle_rad, size_px)
    _paint(frames_THWC, alpha_THW, look.color_rgb)
    noise_THW = rng.standard_normal(frames_THWC.shape[:3], dtype=np.float32)
    noise_THW *= np.float32(look.noise_std)
    frames_THWC += noise_THW[..., None]
    frames_THWC *= 255.0
    np.clip(frames_THWC, 0, 255, out=frames_THWC)
    return frames_THWC.astype(np.uint8)


# --- motions ---


def _draw_path(rng: np.random.Generator, motion: str, radius: float) -> tuple[tuple[float, float], float]:
    """Centre and reach of a motion; for a bounce, the centre is where the shape lands."""
    match motion:
        case "bounce":
            return (float(rng.uniform(0.32, 0.68)), 0.97 - radius), float(rng.uniform(0.36, 0.46))
        case "slide":
            return (0.5, float(rng.uniform(0.3, 0.7))), float(rng.uniform(0.2, 0.25))
        case "orbit":
            x, y = rng.uniform(0.46, 0.54, 2)
            return (float(x), float(y)), float(rng.uniform(0.18, 0.23))
        case "pulse":
            x, y = rng.uniform(0.38, 0.62, 2)
            return (float(x), float(y)), float(rng.uniform(0.13, 0.18))
        case _:
            raise ValueError(f"unknown motion {motion!r}")


def _path(motion: str, beat_T: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre x, centre y and radius of the shape at each frame, each [T]."""
    (x, y), still = look.center_xy, np.zeros_like(beat_T)
    half_turn_T = np.pi * beat_T
    match motion:
        case "bounce":
            sway_T = 0.06 * look.turn * np.cos(half_turn_T)
            return x + sway_T, y - look.reach * np.abs(np.sin(half_turn_T)), still + look.radius
        case "slide":
            return x + look.reach * np.cos(half_turn_T), still + y, still + look.radius
        case "orbit":
            dy_T = look.turn * look.reach * np.sin(half_turn_T)
            return x + look.reach * np.cos(half_turn_T), y + dy_T, still + look.radius
        case "pulse":
            return still + x, still + y, look.radius + look.reach * (beat_T % 1)
        case _:
            raise ValueError(f"unknown motion {motion!r}")


# --- shapes: signed distance to the outline, negative inside; dx, dy [T, H, W], radius [T, 1, 1] ---


def _disk_distance(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.hypot(dx, dy) - radius


def _ring_distance(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    half_width = 0.2 * radius
    return np.abs(np.hypot(dx, dy) - (radius - half_width)) - half_width


def _bar_distance(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(dx) - radius, np.abs(dy) - 0.3 * radius)


def _cross_distance(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    far, near = np.maximum(np.abs(dx), np.abs(dy)), np.minimum(np.abs(dx), np.abs(dy))
    return np.maximum(far - radius, near - 0.24 * radius)


def _square_distance(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(dx), np.abs(dy)) - radius


_DISTANCES = {"disk": _disk_distance, "ring": _ring_distance, "bar": _bar_distance, "cross": _cross_distance}


# --- painting ---


@lru_cache(maxsize=4)
def _pixel_centers(size_px: int) -> np.ndarray:
    return ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px).astype(np.float32)


def _coverage(distance, x_T, y_T, radius_T, angle_rad: float, size_px: int) -> np.ndarray:
    """Share of each pixel that a shape covers, float32 [T, H, W]: the outline is one pixel soft."""
    centers = _pixel_centers(size_px)
    across = (centers[None, :] - x_T[:, None]).astype(np.float32)[:, None, :]
    down = (centers[None, :] - y_T[:, None]).astype(np.float32)[:, :, None]
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    radius = radius_T.astype(np.float32)[:, None, None]
    signed = distance(cos * across + sin * down, cos * down - sin * across, radius)
    signed *= np.float32(-size_px)
    signed += np.float32(0.5)
    return np.clip(signed, 0, 1, out=signed)


def _paint(frames_THWC: np.ndarray, alpha_THW: np.ndarray, color_rgb: tuple[float, float, float]) -> None:
    """Blends a colour into the frames, in place, in the rows and columns that it touches at all."""
    rows, columns = (np.flatnonzero(alpha_THW.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return
    box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    touched = frames_THWC[box]
    touched += (np.array(color_rgb, dtype=np.float32) - touched) * alpha_THW[box][..., None]


def _gradient_HWC(look: Look, size_px: int) -> np.ndarray:
    centered = _pixel_centers(size_px) - np.float32(0.5)
    cos, sin = np.float32(np.cos(look.gradient_rad)), np.float32(np.sin(look.gradient_rad))
    share_HW = np.float32(0.5) + (cos * centered[None, :] + sin * centered[:, None]) / np.float32(np.sqrt(2))
    start, end = (np.array(c, dtype=np.float32) for c in look.background_rgb)
    return start + (end - start) * share_HW[..., None]


# --- colours and distractors ---


def _draw_contrasting_luma(rng: np.random.Generator, middle_luma: float) -> float:
    """Brighter or darker than the background by at least 0.28: gray frames must show the shape, either way round."""
    step = rng.uniform(0.28, 0.5) * rng.choice([-1, 1])
    return middle_luma + step if 0.04 <= middle_luma + step <= 0.96 else middle_luma - step


def _draw_color(rng: np.random.Generator, luma: float) -> tuple[float, float, float]:
    """A random colour of the given luma, nearly: what leaves the gamut is clipped."""
    tint = rng.random(3) - 0.5
    return _shaded(tuple(luma + 0.5 * (tint - tint @ _LUMA)), 0.0)


def _shaded(color_rgb: tuple[float, float, float], shade: float) -> tuple[float, float, float]:
    r, g, b = (float(min(1.0, max(0.0, c + shade))) for c in color_rgb)
    return r, g, b


def _draw_distractor(rng: np.random.Generator) -> Distractor:
    x, y = rng.uniform(0.05, 0.95, 2)
    vx, vy = rng.uniform(-0.15, 0.15, 2)
    return Distractor(
        radius=float(rng.uniform(0.03, 0.055)),
        start_xy=(float(x), float(y)),
        velocity_xy=(float(vx), float(vy)),
        color_rgb=_draw_color(rng, rng.uniform(0.1, 0.9)),
    )
