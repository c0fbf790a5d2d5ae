"""Makes the sound of a synthetic clip: one timbre under one envelope, with noise.

All envelopes meet the beat at whole `beat`: the hit sounds, the tremolo and the pitch are highest, the ramp drops.
"""

from dataclasses import dataclass, replace

import numpy as np

_HIT_DECAY_S = 0.07
_ATTACK_S = 0.004  # of a hit, and of a ramp's drop: no click
_TREMOLO_DEPTH = 0.95
_WOBBLE_DEPTH = 0.22  # of the pitch, either way: about four semitones
_PEAK = 0.6  # of a sound at 0 dB, before noise
_TOP_OF_BAND = 0.45  # of the sample rate: no partial above it

# Shape of the video -> (frequency ratio, amplitude) of each partial.
_PARTIALS = {
    "disk": [(1.0, 1.0), (2.0, 0.25), (3.0, 0.08)],  # soft harmonic
    "ring": [(k, 1.0 / k) for k in (1.0, 3.0, 5.0, 7.0, 9.0)],  # odd harmonics
    "bar": [(1.0, 1.0), (2.76, 0.8), (5.40, 0.6), (8.93, 0.4)],  # bell: the modes of a free bar
    "cross": [(float(k), k**-0.2) for k in range(1, 13)],  # 12 partials
}


@dataclass(frozen=True)
class Tone:
    """What the sound is like besides the class."""

    f0_hz: float
    gain_db: float
    snr_db: float


def draw_tone(rng: np.random.Generator) -> Tone:
    """Random nuisances: f0 180-720 Hz (log-uniform), gain -18..0 dB, signal-to-noise ratio 3-20 dB."""
    f0_hz = 180.0 * 4.0 ** rng.random()
    return Tone(float(f0_hz), float(rng.uniform(-18, 0)), float(rng.uniform(3, 20)))


def jitter_tone(rng: np.random.Generator, tone: Tone) -> Tone:
    """The tone of a near-duplicate: detuned by about 0.5%, slightly other loudness and noise."""
    detune, louder, cleaner = rng.normal(0, [0.005, 0.5, 0.5])
    return replace(
        tone,
        f0_hz=tone.f0_hz * float(np.exp(detune)),
        gain_db=tone.gain_db + float(louder),
        snr_db=tone.snr_db + float(cleaner),
    )


def render_sound(
    *,
    motion: str,
    shape: str,
    tempo_hz: float,
    phase: float,
    tone: Tone,
    duration_s: float,
    sample_rate_hz: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The sound of a clip, float32 [L] in [-1, 1], L = duration_s * sample_rate_hz; `rng` draws noise and phases."""
    time_L = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    beat_L = tempo_hz * time_L + phase
    cycles_L, highest_hz = time_L * tone.f0_hz, tone.f0_hz
    if motion == "orbit":  # the integral of f0 * (1 + depth * cos(2 pi beat))
        cycles_L = cycles_L + tone.f0_hz * _WOBBLE_DEPTH * np.sin(2 * np.pi * beat_L) / (2 * np.pi * tempo_hz)
        highest_hz *= 1 + _WOBBLE_DEPTH
    limit = _TOP_OF_BAND * sample_rate_hz / highest_hz
    signal_L = envelope(motion, beat_L, tempo_hz) * _timbre(shape, cycles_L, limit, rng)
    signal_L *= _PEAK * 10 ** (tone.gain_db / 20) / np.abs(signal_L).max()
    noise_std = np.sqrt(np.mean(signal_L**2)) * 10 ** (-tone.snr_db / 20)
    return np.clip(signal_L + noise_std * rng.standard_normal(len(signal_L)), -1, 1).astype(np.float32)


def envelope(motion: str, beat_L: np.ndarray, tempo_hz: float) -> np.ndarray:
    """Loudness in [0, 1] at each time, [L]; constant for an orbit, whose pitch moves instead."""
    since_beat_s = (beat_L % 1) / tempo_hz
    match motion:
        case "bounce":
            return np.minimum(1, since_beat_s / _ATTACK_S) * np.exp(-since_beat_s / _HIT_DECAY_S)
        case "slide":
            return 1 - _TREMOLO_DEPTH * (0.5 - 0.5 * np.cos(2 * np.pi * beat_L))
        case "orbit":
            return np.ones_like(beat_L)
        case "pulse":
            return (beat_L % 1) ** 1.5 * np.minimum(1, (1 / tempo_hz - since_beat_s) / _ATTACK_S)
        case _:
            raise ValueError(f"unknown motion {motion!r}")


def _timbre(shape: str, cycles_L: np.ndarray, limit: float, rng: np.random.Generator) -> np.ndarray:
    """The sum of a shape's partials up to `limit` times f0; starting phases are random."""
    starts = rng.random(len(_PARTIALS[shape]))
    total_L = np.zeros(len(cycles_L))
    for (ratio, amplitude), start in zip(_PARTIALS[shape], starts, strict=True):
        if ratio <= limit:
            total_L += amplitude * np.sin(2 * np.pi * ((ratio * cycles_L + start) % 1))
    return total_L
