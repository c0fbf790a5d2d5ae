"""What synthetic clips sound like: the envelope follows the motion, the timbre the shape."""

import dataclasses

import numpy as np
import pytest

from mmcsal.datasets.synthetic.render_audio import draw_tone, render_sound


def _clean_sound(
    motion: str, *, tempo_hz: float, phase: float, shape: str = "disk", f0_hz: float = 400.0
) -> np.ndarray:
    rng = np.random.default_rng(0)
    tone = dataclasses.replace(draw_tone(rng), snr_db=40.0, gain_db=0.0, f0_hz=f0_hz)
    common = {"duration_s": 2.0, "sample_rate_hz": 16000, "rng": rng}
    return render_sound(motion=motion, shape=shape, tempo_hz=tempo_hz, phase=phase, tone=tone, **common)


def _loudness(sound_L: np.ndarray) -> np.ndarray:
    """Root mean square of each hundredth of a second, [200]."""
    return np.sqrt((sound_L.reshape(200, 160) ** 2).mean(axis=1))


def _strongest_rate_hz(series_T: np.ndarray, rate_hz: float) -> float:
    padded = np.abs(np.fft.rfft((series_T - series_T.mean()) * np.hanning(len(series_T)), 20 * len(series_T)))
    return float(np.fft.rfftfreq(20 * len(series_T), 1 / rate_hz)[padded.argmax()])


@pytest.mark.parametrize("motion", ["bounce", "slide", "pulse"])
@pytest.mark.parametrize("tempo_hz", [1.2, 1.7, 2.4, 3.0])
def test_loudness_beats_at_the_tempo_and_on_the_phase(motion, tempo_hz):
    loudness = _loudness(_clean_sound(motion, tempo_hz=tempo_hz, phase=0.3))
    assert _strongest_rate_hz(loudness, 100) == pytest.approx(tempo_hz, rel=0.12)
    beat = (tempo_hz * (np.arange(200) + 0.5) / 100 + 0.3) % 1
    loudest = beat[loudness > 0.8 * loudness.max()]
    away = np.abs((loudest + 0.5) % 1 - 0.5)  # from the beat, in beats
    assert away.max() < {"bounce": 0.15, "slide": 0.2, "pulse": 0.2}[motion]
    if motion == "bounce":  # it dies away after the beat
        assert ((loudest + 0.5) % 1 - 0.5).mean() > 0
    if motion == "pulse":  # it swells towards the beat
        assert (loudest > 0.5).all()


def test_an_orbit_sounds_steady_and_its_pitch_moves_at_the_tempo():
    sound = _clean_sound("orbit", tempo_hz=1.7, phase=0.3)
    loudness = _loudness(sound)
    assert loudness.std() / loudness.mean() < 0.1
    windows = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::160] * np.hanning(1024)
    pitch_hz = np.abs(np.fft.rfft(windows, 16384)).argmax(axis=1) * 16000 / 16384
    assert _strongest_rate_hz(pitch_hz, 100) == pytest.approx(1.7, rel=0.1)
    assert pitch_hz.max() == pytest.approx(400 * 1.22, rel=0.03)
    assert pitch_hz.min() == pytest.approx(400 * 0.78, rel=0.03)
    beat = (1.7 * (np.arange(len(pitch_hz)) * 160 + 512) / 16000 + 0.3) % 1
    assert np.cos(2 * np.pi * beat[pitch_hz.argmax()]) > 0.8


@pytest.mark.parametrize(
    ("shape", "partials"),
    [("disk", {1, 2, 3}), ("ring", {1, 3, 5, 7}), ("bar", {1, 2.76, 5.4, 8.93}), ("cross", {1, 2, 3, 4, 5, 7, 12})],
)
def test_timbres_have_their_partials_and_no_others(shape, partials):
    power = np.abs(np.fft.rfft(_clean_sound("slide", tempo_hz=1.0, phase=0, shape=shape, f0_hz=300.0))) ** 2
    share = {r: power[round(600 * r) - 16 : round(600 * r) + 17].sum() / power.sum() for r in _RATIOS}  # +-8 Hz
    assert {r for r, s in share.items() if s > 0.004} == partials


_RATIOS = (1, 2, 2.76, 3, 4, 5, 5.4, 7, 8.93, 12)
