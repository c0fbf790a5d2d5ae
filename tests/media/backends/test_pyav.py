import numpy as np

from benchmarks.spelled.cases import make
from benchmarks.spelled.read import frame_time_s
from mmcsal.media.decode import Source, decode_clip
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
