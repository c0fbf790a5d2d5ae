"""What synthetic clips show: motions and shapes that can be told apart, on the beat, inside the frame."""

import dataclasses

import numpy as np
import pytest

from mmcsal.datasets.synthetic.plan import MOTIONS, SHAPES
from mmcsal.datasets.synthetic.render_video import draw_look, render_frames


def _tracks(motion: str, tempo_hz: float, phase: float, shape: str = "disk") -> np.ndarray:
    """Centre x, centre y and area of the shape in each of 32 frames, [T, 3]."""
    time_T = np.arange(32) / 16
    look = draw_look(np.random.default_rng(3), motion)
    look = dataclasses.replace(look, color_rgb=(1, 1, 1), background_rgb=((0, 0, 0), (0, 0, 0)), distractors=())
    frames = render_frames(
        motion=motion,
        shape=shape,
        beat_T=tempo_hz * time_T + phase,
        time_T=time_T,
        look=dataclasses.replace(look, noise_std=0.0),
        size_px=64,
        rng=np.random.default_rng(0),
    )
    weight_THW = frames[..., 0] / 255.0
    area_T = weight_THW.sum(axis=(1, 2))
    centers = (np.arange(64) + 0.5) / 64
    x_T = (weight_THW.sum(axis=1) @ centers) / area_T
    y_T = (weight_THW.sum(axis=2) @ centers) / area_T
    return np.stack([x_T, y_T, area_T / 64**2], axis=1)


@pytest.mark.parametrize("tempo_hz", [1.0, 1.85, 2.15, 3.0])
@pytest.mark.parametrize("phase", [0.0, 0.25, 0.6])
def test_motions_can_be_told_apart_at_four_frames_a_second(tempo_hz, phase):
    spread = {m: np.ptp(_tracks(m, tempo_hz, phase)[::4], axis=0) for m in MOTIONS}
    for motion in ("slide", "orbit"):
        assert spread[motion][0] > 0.25
    assert spread["bounce"][1] > 0.15
    assert spread["orbit"][1] > 0.25
    assert spread["bounce"][0] < 0.13
    assert spread["slide"][1] < 0.02
    assert spread["pulse"][2] > 0.08
    assert max(spread[m][2] for m in ("bounce", "slide", "orbit")) < 0.01
    assert spread["pulse"][:2].max() < 0.02


def test_video_meets_the_beat_where_the_sound_does():
    time_T = np.arange(32) / 16
    beat_T = 1.3 * time_T + 0.4
    nearest = np.abs((beat_T + 0.5) % 1 - 0.5).argmin()
    bounce, slide, pulse = (_tracks(m, 1.3, 0.4) for m in ("bounce", "slide", "pulse"))
    assert bounce[nearest, 1] > np.quantile(bounce[:, 1], 0.9)  # on the ground
    assert np.abs(slide[nearest, 0] - 0.5) > np.quantile(np.abs(slide[:, 0] - 0.5), 0.8)  # at an end
    grown = np.diff(pulse[:, 2])
    assert (grown < 0).sum() == np.floor(beat_T[-1]) - np.floor(beat_T[0])  # snaps back once a beat


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_large_enough_and_stay_in_the_frame(motion, shape):
    for seed in range(12):
        look = draw_look(np.random.default_rng(seed), motion)
        assert look.radius >= 0.18
        look = dataclasses.replace(
            look, color_rgb=(1, 1, 1), background_rgb=((0, 0, 0),) * 2, distractors=(), noise_std=0
        )
        frames = render_frames(
            motion=motion,
            shape=shape,
            beat_T=np.linspace(0, 2, 9),
            time_T=np.linspace(0, 2, 9),
            look=look,
            size_px=48,
            rng=np.random.default_rng(0),
        )
        assert (frames.max(axis=(1, 2, 3)) == 255).all()
        if shape != "bar" and shape != "cross":  # their corners may stick out by a pixel or two
            edges = np.concatenate([frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]], axis=1)
            assert edges.max() == 0


def test_the_shape_stands_out_in_gray_either_way_round():
    differences = []
    for seed in range(60):
        look = draw_look(np.random.default_rng(seed), "slide")
        gray = [float(np.dot(c, (0.299, 0.587, 0.114))) for c in (look.color_rgb, *look.background_rgb)]
        differences.append(gray[0] - (gray[1] + gray[2]) / 2)
    assert min(np.abs(differences)) > 0.2
    assert 0.25 < np.mean(np.array(differences) > 0) < 0.75
