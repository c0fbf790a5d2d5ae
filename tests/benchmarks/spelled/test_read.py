"""The reader sees what is wrong with a clip, without any file."""

import numpy as np
import pytest

from benchmarks.spelled.paint import SAMPLE_RATE_HZ, paint, sing
from benchmarks.spelled.read import UPRIGHT, read

RATE_HZ = 16_000
VIDEO_THWC = np.stack([paint((i + 0.5) / 4, 120, 120) for i in range(16)])  # the middles of 16 slices of 4 s
AUDIO_L = (sing(6.0)[:: SAMPLE_RATE_HZ // RATE_HZ] * 32767).astype(np.int16)


def test_a_right_clip():
    spelled = read(VIDEO_THWC, AUDIO_L[: 4 * RATE_HZ], RATE_HZ, 4.0)
    assert (spelled.turned, spelled.is_red) == (UPRIGHT, True)
    assert spelled.aspect == pytest.approx(1.0, abs=0.05)
    assert spelled.frame_lag_s == pytest.approx(0.0, abs=0.01)
    assert spelled.frame_spread_s < 0.01
    assert spelled.sound_minus_picture_s == pytest.approx(0.0, abs=0.01)
    assert np.ptp(spelled.sound_lag_s) < 0.02


@pytest.mark.parametrize(("flip", "quarter"), [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)])
def test_a_turned_clip(flip, quarter):
    turned = np.rot90(VIDEO_THWC[:, :, ::-1] if flip else VIDEO_THWC, quarter, axes=(1, 2))
    spelled = read(turned, AUDIO_L[: 4 * RATE_HZ], RATE_HZ, 4.0)
    assert spelled.turned != UPRIGHT
    assert spelled.frame_spread_s < 0.01, "the time is read the right way up"


def test_colors_that_are_swapped_and_a_picture_that_is_squashed():
    squashed = VIDEO_THWC[:, :, np.arange(120) * 3 // 4 + 15, ::-1]
    spelled = read(squashed, AUDIO_L[: 4 * RATE_HZ], RATE_HZ, 4.0)
    assert not spelled.is_red
    assert spelled.aspect > 1.2


def test_late_sound_a_hole_and_frozen_frames():
    frozen = np.concatenate([VIDEO_THWC[:8], np.repeat(VIDEO_THWC[7:8], 8, axis=0)])
    late = AUDIO_L[RATE_HZ : 5 * RATE_HZ].copy()
    late[RATE_HZ : 2 * RATE_HZ] = 0
    spelled = read(frozen, late, RATE_HZ, 4.0)
    assert spelled.frame_spread_s > 1
    assert np.median(spelled.sound_lag_s) == pytest.approx(1.0, abs=0.01)
    assert not ((spelled.sound_at_s > 0.9) & (spelled.sound_at_s < 2.1)).any()
