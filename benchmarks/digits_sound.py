"""Scanned digits x synthetic speech: pairs that share their class and nothing else.

The video is a digit of scikit-learn's 1797 scans (8 x 8 pixels) that drifts through the frame, as the tiny encoder
sees only what moves; the sound is a made-up word, one per digit, by a speaker of its own. How a digit is drawn and
moves says nothing of how its word is spoken: what the two modalities can agree on is the class alone, and within a
class retrieval is chance.

Each clip follows from (seed, number of the scan) alone, whatever else is rendered.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.clips import clip_table
from mmcsal.storage.rundir import PART_NAME, RunDir

NUM_SCANS, NUM_CLASSES = 1797, 10
NUM_FRAMES, FRAME_SIZE_PX = 8, 32
DURATION_S, SAMPLE_RATE_HZ = 1.0, 16_000
NUM_SAMPLES = round(DURATION_S * SAMPLE_RATE_HZ)
CLIPS_PER_PART = 64

TOP_HZ = 4500  # of the harmonics: no vowel has more to say above
RAMP_S = 0.02  # from one segment to the next
BANDWIDTH = 0.12  # of a formant or a noise band, as a share of its frequency, beside 60 Hz


@dataclass(frozen=True)
class Segment:
    """A sound of speech: a harmonic voice through formants, or noise through a band."""

    share: float  # of the word's length, before the shares are scaled to sum to 1
    formants_hz: tuple[float, ...] = ()
    loudness: float = 1.0  # of the voice
    noise_hz: float = 0.0  # the middle of the noise band; 0 = none
    noise: float = 0.0  # its loudness


SEGMENTS = {
    "a": Segment(1.2, (700, 1200, 2500)),
    "e": Segment(1.2, (480, 1800, 2500)),
    "i": Segment(1.2, (400, 2000, 2700)),
    "o": Segment(1.2, (500, 900, 2500)),
    "u": Segment(1.2, (420, 780, 2300)),
    "n": Segment(0.7, (250, 1100, 2300), loudness=0.5),
    "r": Segment(0.7, (350, 1200, 1600), loudness=0.5),
    "s": Segment(0.6, noise_hz=5500, noise=0.2),
    "f": Segment(0.6, noise_hz=3500, noise=0.12),
    "t": Segment(0.3, noise_hz=4500, noise=0.3),
}
# The word of each digit. Each has a neighbour with another vowel, or with the same sounds the other way round: speakers
# differ so much that vowels overlap, and order takes more than a mean spectrum.
WORDS = ("nai", "ian", "son", "sun", "fer", "fir", "ret", "rit", "tof", "tuf")


def split(num_train: int, num_test: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the scans to train on and of those to test on, disjoint, int64 [num_train] and [num_test]."""
    if num_train + num_test > NUM_SCANS:
        raise ValueError(f"digits: {num_train} + {num_test} clips wanted, there are {NUM_SCANS} scans")
    order = np.random.default_rng(seed).permutation(NUM_SCANS)
    return order[:num_train], order[num_train : num_train + num_test]


def write_clips(run_dir: RunDir, scans: np.ndarray, *, seed: int = 0) -> None:
    """Writes the CLIP table of these scans into a run directory, in place of what was there."""
    run_dir.clear("clips")
    for part, first in enumerate(range(0, len(scans), CLIPS_PER_PART)):
        clips = make_clips(scans[first : first + CLIPS_PER_PART], seed=seed)
        run_dir.write_part("clips", PART_NAME.format(part), clips)


def make_clips(scans: np.ndarray, *, seed: int = 0) -> pa.Table:
    """The CLIP table of these scans, one row each."""
    digits = load_digits()
    rngs = [np.random.default_rng((seed, scan)) for scan in scans]
    with threadpool_limits(1):  # small matrices: threads cost more than they bring
        video = np.stack([render_digit(digits.images[s] / 16, rng) for s, rng in zip(scans, rngs, strict=True)])
        audio = np.stack([render_word(WORDS[digits.target[s]], rng) for s, rng in zip(scans, rngs, strict=True)])
    ids = [f"scan-{scan:04d}" for scan in scans]
    return clip_table(ids, video, audio, duration_s=DURATION_S, sample_rate_hz=SAMPLE_RATE_HZ)


def classes_of(sample_ids: list[str]) -> np.ndarray:
    """The digit of each clip, int64 [N]."""
    return load_digits().target[[int(sample_id.removeprefix("scan-")) for sample_id in sample_ids]]


def render_digit(scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip of a drifting digit, uint8 [T, H, W, 3], all channels equal.

    Nuisances: size, path, brightness of the digit and of the background, noise.

    Args:
        scan: ink in [0, 1], [8, 8].
    """
    pixels_per_dot = rng.uniform(2.2, 2.9)
    rows_TPI, columns_TPI = (_resampled(_path(rng), pixels_per_dot) for _ in range(2))
    ink_THW = rows_TPI @ scan @ columns_TPI.transpose(0, 2, 1)
    background, contrast = rng.uniform(0, 0.3), rng.uniform(0.35, 0.7)
    noise_THW = rng.uniform(0, 0.06) * rng.standard_normal(ink_THW.shape)
    gray_THW = np.clip(background + contrast * ink_THW + noise_THW, 0, 1)
    return np.repeat((gray_THW * 255).round().astype(np.uint8)[..., None], 3, axis=3)


def render_word(word: str, rng: np.random.Generator) -> np.ndarray:
    """A spoken word somewhere in a second, int16 [L].

    Nuisances: pitch of the voice and its fall, formants (+-10%), speed (+-15%), start, gain, background noise
    (5-20 dB under the sound, over the whole second).
    """
    segments = [SEGMENTS[name] for name in word]
    # A short throat puts all formants higher; and nobody says a sound twice alike.
    sizes_S3 = rng.uniform(0.9, 1.1) * rng.uniform(0.9, 1.1, (len(segments), 3))
    word_s = 0.65 * rng.uniform(0.85, 1.15)
    gates_SL = _gates(segments, word_s, start_s=rng.uniform(0, DURATION_S - word_s))
    spoken_L = (gates_SL * (_voices(segments, sizes_S3, rng) + _noises(segments, sizes_S3, rng))).sum(axis=0)
    spoken_L *= 0.5 * 10 ** (rng.uniform(-12, 0) / 20) / np.abs(spoken_L).max()
    background = np.sqrt(np.mean(spoken_L**2)) * 10 ** (-rng.uniform(5, 20) / 20)
    heard_L = spoken_L + background * rng.standard_normal(NUM_SAMPLES)
    return (np.clip(heard_L, -1, 1) * 32767).round().astype(np.int16)


def _path(rng: np.random.Generator) -> np.ndarray:
    """The middle of the digit along one axis, in pixels, [T]: a slow swing around the middle of the frame."""
    time_T = np.arange(NUM_FRAMES) / NUM_FRAMES
    swing_T = np.sin(2 * np.pi * (rng.uniform(0.5, 1.2) * time_T + rng.random()))
    return FRAME_SIZE_PX / 2 + rng.uniform(-2, 2) + rng.uniform(3, 6) * swing_T


def _resampled(middle_T: np.ndarray, pixels_per_dot: float) -> np.ndarray:
    """Weights that take 8 dots to the pixels of one axis, bilinear and black outside the scan, [T, P, 8]."""
    dot_TP = (np.arange(FRAME_SIZE_PX) + 0.5 - middle_T[:, None]) / pixels_per_dot + 3.5
    return np.maximum(0, 1 - np.abs(dot_TP[..., None] - np.arange(8)))


def _gates(segments: list[Segment], word_s: float, *, start_s: float) -> np.ndarray:
    """How much of each segment sounds when, [S, L] in [0, 1]: one after the other, with short ramps between."""
    shares_S = np.array([segment.share for segment in segments])
    edges_s = start_s + word_s * np.concatenate(([0], np.cumsum(shares_S / shares_S.sum())))
    time_L = np.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ
    passed_EL = np.clip((time_L - edges_s[:, None]) / RAMP_S + 0.5, 0, 1)
    return passed_EL[:-1] - passed_EL[1:]


def _voices(segments: list[Segment], sizes_S3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The voice through each segment's formants, of the whole second, [S, L]."""
    f0_hz, fall = 90 * 2.6 ** rng.random(), rng.uniform(0, 0.2)  # 90-234 Hz
    phase_L = 2 * np.pi * np.cumsum(f0_hz * (1 - fall * np.linspace(0, 1, NUM_SAMPLES))) / SAMPLE_RATE_HZ
    harmonic_K = np.arange(1, int(TOP_HZ / f0_hz) + 1)
    tones_KL = np.sin((harmonic_K[:, None] * (phase_L % (2 * np.pi))).astype(np.float32))
    gain_SK = np.stack([_voice_gain(s, sizes, harmonic_K * f0_hz) for s, sizes in zip(segments, sizes_S3, strict=True)])
    return gain_SK.astype(np.float32) @ tones_KL


def _voice_gain(segment: Segment, sizes_3: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Amplitude of the voice at these frequencies, of unit power: a falling source through the formants."""
    if not segment.formants_hz:
        return np.zeros(len(frequency_hz))
    gain = sum(_bump(frequency_hz, formant_hz) for formant_hz in sizes_3 * segment.formants_hz) / frequency_hz
    return segment.loudness * gain / np.sqrt(np.mean(gain**2) * len(gain) / 2)


def _noises(segments: list[Segment], sizes_S3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise through each segment's band, of the whole second, [S, L]."""
    spectrum_F = np.fft.rfft(rng.standard_normal(NUM_SAMPLES))
    frequency_hz = np.fft.rfftfreq(NUM_SAMPLES, 1 / SAMPLE_RATE_HZ)
    noise_SL = np.zeros((len(segments), NUM_SAMPLES))
    for noise_L, segment, sizes_3 in zip(noise_SL, segments, sizes_S3, strict=True):
        if segment.noise:
            band_F = _bump(frequency_hz, sizes_3[0] * segment.noise_hz)
            noise_L[:] = segment.noise * np.fft.irfft(spectrum_F * band_F / np.sqrt(np.mean(band_F**2)), NUM_SAMPLES)
    return noise_SL


def _bump(frequency_hz: np.ndarray, middle_hz: float) -> np.ndarray:
    """A resonance: 1 at `middle_hz`, falling to both sides."""
    return 1 / (1 + ((frequency_hz - middle_hz) / (60 + BANDWIDTH * middle_hz)) ** 2)
