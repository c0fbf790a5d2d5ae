import numpy as np
import pytest

from benchmarks.spelled.cases import make
from mmcsal.media.backends import decord, proof
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.picture import Picture
from mmcsal.media.plan import make_plan
from mmcsal.media.spec import MediaSpec
from tests.films import CASES, needs_ffmpeg
from tests.helpers import write_timed_clip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_timed_clip(tmp_path_factory.mktemp("clips") / "a.mp4", 6.0))


def clip(path, **keys):
    return decode_clip(Source("s", path), MediaSpec(window_s=2.0, num_frames=8, **keys))


def test_it_shows_the_same_instants_as_pyav(path):
    with Picture(path, MediaSpec()) as picture:
        assert decord.is_proven(picture)
    ours, theirs = clip(path, frame_size_px=32, backend="decord"), clip(path, frame_size_px=32)
    np.testing.assert_array_equal(ours.video_THWC, theirs.video_THWC)
    np.testing.assert_array_equal(ours.audio_L, theirs.audio_L)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["usual.mp4", "hevc.mp4", "bt709.mp4"])
def test_it_gives_the_same_bytes_as_pyav(name, films, tmp_path):
    path = str(make(CASES[name], films, tmp_path))
    with Picture(path, MediaSpec()) as picture:
        plan = make_plan(picture, None, MediaSpec())
        assert decord.is_proven(picture)
        assert decord.read_frames(picture, plan, np.array([0.5]), MediaSpec()) is not None
    ours, theirs = clip(path, backend="decord"), clip(path)
    np.testing.assert_array_equal(ours.video_THWC, theirs.video_THWC)


@pytest.mark.parametrize("size_px", [16, 24, 48, 72])
def test_sizes_that_decord_cannot_make_work(path, size_px):
    made = clip(path, frame_size_px=size_px, backend="decord")
    assert made.video_THWC.shape == (8, size_px, size_px, 3)
    assert (np.diff(made.video_THWC.mean(axis=(1, 2, 3))) > 0).all(), "it grows brighter"


def test_long_files_are_not_for_it(path, monkeypatch):
    monkeypatch.setattr(proof, "MAX_FRAMES", 50)
    with Picture(path, MediaSpec()) as picture:
        assert not decord.is_proven(picture)
