"""Frames and log-mel pictures, and charts of odd data."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmcsal.report import figures, pictures
from mmcsal.report.budget import BudgetCurves
from mmcsal.report.facts import MapPoints, RejectCount, Series

RATE_HZ = 16_000


def tone(frequency_hz, duration_s=1.0):
    return (8000 * np.sin(2 * np.pi * frequency_hz * np.arange(int(RATE_HZ * duration_s)) / RATE_HZ)).astype(np.int16)


class TestLogMel:
    @pytest.mark.parametrize("frequency_hz", [300, 1000, 4000])
    def test_a_tone_is_brightest_in_its_band(self, frequency_hz):
        mel_FT = pictures.log_mel_FT(tone(frequency_hz), RATE_HZ)
        mel_of_tone = 2595 * np.log10(1 + frequency_hz / 700)
        expected = mel_of_tone / (2595 * np.log10(1 + 8000 / 700)) * 65 - 1
        assert abs(mel_FT.mean(axis=1).argmax() - expected) <= 1.5
        assert mel_FT.max() == 1

    def test_silence_is_dark(self):
        assert pictures.log_mel_FT(np.zeros(RATE_HZ, np.int16), RATE_HZ).max() == 0

    def test_time_runs_to_the_right(self):
        sound_L = np.concatenate([np.zeros(RATE_HZ, np.int16), tone(1000)])
        mel_FT = pictures.log_mel_FT(sound_L, RATE_HZ)
        half = mel_FT.shape[1] // 2
        assert mel_FT[:, : half - 4].max() == 0
        assert mel_FT[:, half + 4 :].max(axis=0).min() > 0.9

    @pytest.mark.parametrize("num_samples", [0, 1, 511, 512, 30 * RATE_HZ])
    def test_any_length_gives_a_picture_of_bounded_size(self, num_samples):
        mel_FT = pictures.log_mel_FT(np.ones(num_samples, np.int16), RATE_HZ)
        assert mel_FT.shape[0] == 64
        assert 1 <= mel_FT.shape[1] <= 400
        assert np.isfinite(mel_FT).all()

    def test_every_band_hears_something(self):
        assert (pictures.mel_filters_FB(RATE_HZ).sum(axis=1) > 0).all()

    def test_high_notes_are_at_the_top(self):
        with Image.open(BytesIO(pictures.log_mel_png(tone(6000), RATE_HZ))) as image:
            gray_HW = np.asarray(image.convert("L"), dtype=float)
        assert gray_HW[:16].mean() > gray_HW[-16:].mean() + 20


class TestStrip:
    def test_runs_from_the_first_frame_to_the_last(self):
        frames_THWC = np.zeros((10, 20, 40, 3), np.uint8)
        frames_THWC += (np.arange(10, dtype=np.uint8) * 20)[:, None, None, None]
        strip_HWC = pictures.strip(frames_THWC, 4)
        assert strip_HWC.shape == (112, 4 * 224 + 3 * 4, 3)
        assert [int(strip_HWC[50, x, 0]) for x in (10, 240, 470, 700)] == [0, 60, 120, 180]

    def test_a_still_image_is_one_frame(self):
        assert pictures.strip(np.full((1, 8, 8, 3), 9, np.uint8), 4).shape == (112, 112, 3)


class TestFigures:
    def size_of(self, png):
        with Image.open(BytesIO(png)) as image:
            assert image.format == "PNG"
            return image.size

    def test_one_pick_and_no_pool(self):
        points = MapPoints(np.empty((0, 2)), np.zeros((1, 2)), np.array([0]), (0.0, 0.0))
        assert self.size_of(figures.map_png(points))[0] > 1000

    def test_losses_that_diverge_or_have_one_epoch(self):
        diverged = Series("pretrain", "loss", (0, 1, 2), (1.0, float("nan"), float("inf")))
        assert self.size_of(figures.losses_png([diverged, Series("pretrain", "loss_x", (0,), (1.0,))]))[0] > 1000

    def test_gap_without_retrieval_and_without_training(self):
        assert self.size_of(figures.gap_png([Series("pretrain", "gap", (-1,), (1.0,))], []))[0] > 1000

    def test_rejects_grow_with_their_number(self):
        rejects = [RejectCount(f"reason_{i}", i + 1, ("decode",), "a", "b") for i in range(9)]
        assert self.size_of(figures.rejects_png(rejects))[1] > self.size_of(figures.rejects_png(rejects[:2]))[1]

    def test_a_curve_of_one_point(self):
        assert self.size_of(figures.budget_png(BudgetCurves(5, ((5.0, 0.4),))))[0] > 1000

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"knee": 4},
            {"random_labels": 24},
            {"random_labels": 240},  # far outside the picture
            {"random_labels": 3},  # better than the selection
            {"knee": 4, "random_labels": 24, "coverage_random": 0.5},
        ],
    )
    def test_budget_curves_with_what_was_measured(self, more):
        curve, random_curve = ((0.0, 0.0), (4.0, 0.5), (10.0, 0.6)), ((0.0, 0.0), (10.0, 0.5), (240.0, 0.8))
        bare = figures.budget_png(BudgetCurves(10, curve, random_curve))
        png = figures.budget_png(BudgetCurves(10, curve, random_curve, **more))
        assert self.size_of(png) == self.size_of(bare)
        assert (png != bare) == bool(more)

    @pytest.mark.filterwarnings("error")
    def test_budget_curves_without_height(self):
        level = ((0.0, 0.0), (10.0, 0.0))
        assert self.size_of(figures.budget_png(BudgetCurves(10, level, level, 0.0)))[0] > 1000
