import math
from itertools import pairwise

import pytest
import torch

from mmcsal.training.augment import AugmentSpec, random_views
from mmcsal.training.schedule import learning_rate_factor

NOTHING = AugmentSpec(
    min_crop=1,
    flip=False,
    brightness=0,
    contrast=0,
    min_duration=1,
    gain_db=0,
    max_noise=0,
    jitter_s=0,
    num_mel_masks=0,
    saturation=0,
)


def clips(n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (n, 6, 16, 16, 1), generator=generator, dtype=torch.uint8)
    audio = torch.randint(-9999, 9999, (n, 6000), generator=generator).to(torch.int16)
    return video, audio


def views(video, audio, spec=None, *, rows=slice(0, 8), seed=0, epoch=0, step=0):
    where = {"seed": seed, "epoch": epoch, "step": step, "rows": rows, "global_batch_size": 8}
    return random_views(video, audio, spec or AugmentSpec(), **where)


def test_views_differ_from_each_other_and_from_step_to_step_and_nothing_else_changes_them():
    video, audio = clips()
    (v1, a1, _), (v2, a2, _) = views(video, audio)
    assert v1.shape == v2.shape
    assert a1.shape == a2.shape
    assert not torch.equal(v1, v2)
    assert not torch.equal(a1, a2)
    torch.manual_seed(7)
    again = views(video, audio)
    assert torch.equal(again[0][0], v1)
    assert torch.equal(again[1][1], a2)
    for other in ({"seed": 1}, {"epoch": 1}, {"step": 1}):
        changed = views(video, audio, AugmentSpec(min_duration=1), **other)
        assert not torch.equal(changed[0][0], views(video, audio, AugmentSpec(min_duration=1))[0][0])


@pytest.mark.parametrize("num_workers", [2, 4])
def test_views_do_not_depend_on_the_number_of_workers(num_workers):
    video, audio = clips()
    whole = views(video, audio)
    share = 8 // num_workers
    parts = []
    for rank in range(num_workers):
        rows = slice(rank * share, (rank + 1) * share)
        parts.append(views(video[rows], audio[rows], rows=rows))
    for view in range(2):
        for modality in range(3):
            joined = torch.cat([p[view][modality] for p in parts])
            torch.testing.assert_close(joined, whole[view][modality], rtol=0, atol=1e-6)


def test_no_augmentation_gives_the_clips_back():
    video, audio = clips()
    for v, a, _ in views(video, audio, NOTHING):
        torch.testing.assert_close(v, video.float() / 255, rtol=0, atol=1e-5)
        torch.testing.assert_close(a, audio.float() / 32768)


def test_all_frames_of_a_clip_get_one_crop_flip_and_tone():
    video, audio = clips()
    still = video[:, :1].expand(-1, 6, -1, -1, -1)
    for v, _, _ in views(still, audio):
        assert torch.equal(v, v[:, :1].expand_as(v))


def test_frames_and_sound_are_cut_at_the_same_time():
    """Clip content counts time: the first frame kept and the first sample kept tell when the window begins."""
    count_T = torch.arange(60, dtype=torch.uint8)
    video = count_T[None, :, None, None, None].expand(8, -1, 4, 4, 1)
    audio = torch.arange(6000).to(torch.int16).expand(8, -1)
    spec = NOTHING.model_copy(update={"min_duration": 0.5})
    starts = []
    for step in range(4):  # the window is as long as the clip in some
        for v, a, _ in views(video, audio, spec, step=step):
            begin_video = v[:, 0, 0, 0, 0] * 255 / 60
            begin_audio = a[:, 0] * 32768 / 6000
            torch.testing.assert_close(begin_video, begin_audio, rtol=0, atol=0.03)
            assert v.shape[1] == math.ceil(60 * a.shape[1] / 6000 - 0.02)
            starts.append(begin_video)
    assert max((a - b).abs().max() for a, b in pairwise(starts)) > 0.05


def test_the_window_has_a_few_lengths_so_that_plans_for_a_shape_are_used_again():
    video, audio = clips()
    lengths = {views(video, audio, step=step)[0].audio_BL.shape[1] for step in range(60)}
    assert lengths == {math.ceil(6000 * k / 16) for k in range(12, 17)}


def test_values_stay_in_range_and_gain_and_noise_are_bounded():
    video, audio = clips()
    (v, a, _), _ = views(video, audio, AugmentSpec(min_duration=1, jitter_s=0, gain_db=6, max_noise=0.05))
    assert 0 <= v.min() <= v.max() <= 1
    level, before = a.square().mean(dim=1).sqrt(), (audio.float() / 32768).square().mean(dim=1).sqrt()
    assert (20 * torch.log10(level / before)).abs().max() <= 6.1


def test_flip_mirrors_about_half_of_the_clips():
    video = torch.zeros(64, 2, 8, 8, 1, dtype=torch.uint8)
    video[:, :, :, :4] = 255
    audio = torch.zeros(64, 100, dtype=torch.int16)
    spec = NOTHING.model_copy(update={"flip": True})
    (v, _, _), _ = random_views(video, audio, spec, seed=0, epoch=0, step=0, rows=slice(0, 64), global_batch_size=64)
    assert 16 < int((v[:, 0, 0, 0, 0] == 0).sum()) < 48


def test_saturation_changes_colours_and_keeps_gray():
    video = torch.randint(0, 256, (8, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    audio = torch.zeros(8, 100, dtype=torch.int16)
    spec = NOTHING.model_copy(update={"saturation": 0.5})
    (v, _, _), _ = views(video, audio, spec)
    luma = torch.tensor([0.299, 0.587, 0.114])
    before = video.float() / 255
    kept = (v > 0).all(dim=-1) & (v < 1).all(dim=-1)  # what was not clipped
    torch.testing.assert_close((v @ luma)[kept], (before @ luma)[kept], rtol=0, atol=1e-4)
    spread = (v.std(dim=-1) / before.std(dim=-1))[kept]
    assert spread.min() > 0.45
    assert spread.max() < 1.55
    assert spread.std() > 0.1
    gray = video[..., :1].expand(-1, -1, -1, -1, 3)
    torch.testing.assert_close(views(gray, audio, spec)[0][0], gray.float() / 255, rtol=0, atol=1e-4)


def test_masks_of_the_spectrogram_differ_by_clip_and_view_and_keep_their_bounds():
    video, audio = clips()
    spec = AugmentSpec(num_mel_masks=2, max_mel_band=0.2, max_mel_span=0.1)
    (_, _, m1), (_, _, m2) = views(video, audio, spec)
    assert m1.shape == (8, 2, 4)
    assert not torch.equal(m1, m2)
    assert len(m1[:, 0, 1].unique()) == 8
    assert (m1[..., 1] <= 0.2).all()
    assert (m1[..., 3] <= 0.1).all()
    assert views(video, audio, NOTHING)[0].mel_mask_BM4.shape == (8, 0, 4)


def test_linear_and_constant_schedules():
    course = {"total_steps": 100, "warmup_fraction": 0.1}
    linear = [learning_rate_factor(s, schedule="linear", **course) for s in (0, 9, 10, 55, 100, 120)]
    assert linear == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0, 0.0])
    constant = [learning_rate_factor(s, schedule="constant", **course) for s in (4, 10, 99, 120)]
    assert constant == pytest.approx([0.5, 1.0, 1.0, 1.0])


def test_schedule_rises_then_falls_to_zero():
    factors = [learning_rate_factor(s, total_steps=100, warmup_fraction=0.05) for s in range(101)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5] == 1.0
    assert all(a >= b for a, b in pairwise(factors[5:]))
    assert factors[100] == pytest.approx(0.0)
    assert learning_rate_factor(52, total_steps=100, warmup_fraction=0.05) == pytest.approx(0.5, abs=0.02)
    assert learning_rate_factor(0, total_steps=1, warmup_fraction=0) == 1.0
