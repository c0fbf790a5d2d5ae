import numpy as np
import pytest

from benchmarks.spelled.cases import Case, make
from benchmarks.spelled.read import frame_time_s
from mmcsal.media.backends import pyav
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.picture import Picture
from mmcsal.media.spec import MediaSpec
from tests.films import CASES, needs_ffmpeg

pytestmark = needs_ffmpeg


def spelled_s(name, films, folder, **keys):
    """What the frames of a clip of the whole 12 seconds spell."""
    path = make(CASES[name], films, folder)
    spec = MediaSpec(window_s=12.0, num_frames=12, frame_size_px=120, **keys)
    video_THWC = decode_clip(Source("s", str(path)), spec).video_THWC
    return np.array([frame_time_s(frame.astype(float).mean(axis=-1)) for frame in video_THWC])


def test_key_frames_are_the_last_before_each_instant(films, tmp_path):
    middles_s = np.arange(12) + 0.5
    keys_s = np.floor(middles_s / 0.48) * 0.48  # every twelfth frame
    np.testing.assert_allclose(spelled_s("short_groups.mkv", films, tmp_path, sampling="keyframes"), keys_s, atol=0.03)


def test_key_frames_that_are_no_pictures_are_not_relied_on(films, tmp_path):
    spelled = spelled_s("refresh.mp4", films, tmp_path, sampling="keyframes")
    np.testing.assert_allclose(spelled, np.arange(12) + 0.48, atol=0.05)


GROUPS = "-i {b12} -c:v libx264 -preset veryfast -g 12 -bf 2 -pix_fmt yuv420p -c:a aac {out}"


@pytest.mark.parametrize("num_frames", [2, 5, 40])
def test_groups_that_are_left_out_change_no_frame(num_frames, films, tmp_path, monkeypatch):
    path = str(make(Case("groups.mp4", "", (GROUPS,)), films, tmp_path))
    spec = MediaSpec(window_s=11.3, num_frames=num_frames, frame_size_px=32)
    jumping = decode_clip(Source("s", path), spec).video_THWC
    monkeypatch.setattr(pyav, "has_plain_picture", lambda _: False)
    np.testing.assert_array_equal(jumping, decode_clip(Source("s", path), spec).video_THWC)


def test_groups_of_which_no_frame_is_wanted_are_not_decoded(films, tmp_path):
    path = make(Case("groups.mp4", "", (GROUPS,)), films, tmp_path)
    spec = MediaSpec(num_frames=4)
    with Picture(str(path), spec) as picture:
        parts = pyav._split_at_keys(picture, np.array([1.0, 1.1, 6.0, 11.0]))
        assert [len(part) for part in parts] == [2, 1, 1]
        reader = pyav._Reader(picture, spec)
        for part_s in parts:
            reader.frames_at(part_s, keys_only=False)
        assert reader._num_packets < 60, "of 300"


def test_packets_of_all_parts_are_counted(films, tmp_path):
    path = make(Case("groups.mp4", "", (GROUPS,)), films, tmp_path)
    with Picture(str(path), MediaSpec()) as picture:
        reader = pyav._Reader(picture, MediaSpec())
        counts = []
        for time_s in (1.0, 6.0, 11.0):
            reader.frames_at(np.array([time_s]), keys_only=False)
            counts.append(picture.num_packets)
        assert reader._num_packets == sum(counts)
