from dataclasses import dataclass
from typing import Any, cast

import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.limits import check_container, check_size
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from tests.helpers import write_timed_clip

SPEC = MediaSpec(max_side_px=1000, max_pixels=250_000, max_aspect=4)


@pytest.mark.parametrize(
    ("width", "height", "pixel_aspect", "key"),
    [
        (1001, 200, 1, "max_side_px is 1000"),
        (501, 500, 1, "max_pixels is 250000"),
        (500, 100, 1, "max_aspect is 4"),
        (100, 500, 1, "max_aspect is 4"),
        (300, 100, 2, "max_aspect is 4"),
    ],
)
def test_a_frame_past_a_limit_is_too_large(width, height, pixel_aspect, key):
    with pytest.raises(MediaError, match=key) as error:
        check_size(width, height, SPEC, pixel_aspect)
    assert error.value.reason is Reason.TOO_LARGE


def test_frames_at_the_limits_pass():
    check_size(1000, 250, SPEC)
    check_size(500, 500, SPEC)


def test_too_many_streams():
    @dataclass
    class Streams:
        streams: list[int]

    check_container(cast(Any, Streams([0] * 64)), SPEC)
    with pytest.raises(MediaError, match=r"65 streams; media\.max_streams is 64"):
        check_container(cast(Any, Streams([0] * 65)), SPEC)


def test_a_file_that_promises_too_many_frames(tmp_path):
    path = write_timed_clip(tmp_path / "a.mp4", 2.0)
    with pytest.raises(MediaError, match=r"32 frames; media\.max_frames is 31"):
        decode_clip(Source("s", str(path)), MediaSpec(max_frames=31))
