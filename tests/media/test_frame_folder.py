"""Folders of frames with their sound: each frame is as gray as its number says."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source, decode_clip
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.content import combine_hashes, hash_content
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window_s=10.0, num_frames=5, frame_size_px=32)
STEP = 20  # of gray from frame to frame


def write_frames(folder: Path, num_frames: int = 10, size: tuple[int, int] = (64, 48)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(num_frames):
        with av.open(str(folder / f"frame_{k}.jpg"), "w", format="image2") as container:
            stream = container.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
            image_HWC = np.full((size[1], size[0], 3), STEP * k, np.uint8)
            for packet in (*stream.encode(av.VideoFrame.from_ndarray(image_HWC)), *stream.encode()):
                container.mux(packet)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return Path(write_timed_clip(tmp_path_factory.mktemp("sound") / "a.mp4", 5.0, picture=False))


def spelled(clip: Clip) -> list[int]:
    """The numbers of the frames."""
    return [round(frame_HWC.mean() / STEP) for frame_HWC in clip.video_THWC]


def decode(folder: Path, sound: Path | None, spec: MediaSpec = SPEC, **keys) -> Clip:
    return decode_clip(Source("a", str(folder), None if sound is None else str(sound), **keys), spec)


def test_frames_are_spread_over_their_sound_in_the_order_of_their_numbers(tmp_path, sound):
    clip = decode(write_frames(tmp_path / "f", 11), sound)
    assert clip.video_THWC.shape == (5, 32, 32, 3)
    assert spelled(clip) == [1, 3, 5, 7, 9]  # of 11 in 5 s, those on screen at .5, 1.5, ...; frame_10 after frame_9
    assert clip.duration_s == pytest.approx(5, abs=0.1)
    assert (clip.facts.container, clip.facts.num_frames) == ("folder", 11)
    assert clip.facts.frame_rate_hz == pytest.approx(2.2, rel=0.02)


def test_picture_and_sound_of_a_part_are_of_the_same_instants(tmp_path, sound):
    folder = write_frames(tmp_path / "f", 10)
    whole, part = decode(folder, sound), decode(folder, sound, start_s=2.0, duration_s=2.0)
    assert spelled(part) == [4, 5, 6, 6, 7]  # of two a second, from 2 s on: 2.2, 2.6, 3.0, 3.4, 3.8
    rate_hz = SPEC.sample_rate_hz
    np.testing.assert_array_equal(part.audio_L[: rate_hz // 2], whole.audio_L[2 * rate_hz : 2 * rate_hz + rate_hz // 2])


def test_a_rate_that_is_given_holds(tmp_path, sound):
    spec = SPEC.model_copy(update={"folder_frame_rate_hz": 10.0})
    clip = decode(write_frames(tmp_path / "f", 10), sound, spec)
    assert clip.duration_s == pytest.approx(1)
    assert spelled(clip) == [1, 3, 5, 7, 9]


def test_the_decoder_without_rights_reads_folders_and_finds_those_that_changed(tmp_path, sound):
    folder = write_frames(tmp_path / "f")
    content_hash = combine_hashes([hash_content(str(folder)), hash_content(str(sound))])
    source = Source("a", str(folder), str(sound), content_hash=content_hash)
    with DecodeProcess(SPEC) as process:
        (clip,) = process.map([source])
        (folder / "frame_3.jpg").write_bytes(b"another")
        (error,) = process.map([source])
    assert isinstance(clip, Clip)
    assert spelled(clip) == [1, 3, 5, 7, 9]
    assert isinstance(error, MediaError)
    assert error.reason is Reason.CHANGED


def test_a_folder_without_frames_is_rejected(tmp_path, sound):
    (tmp_path / "f").mkdir()
    with pytest.raises(MediaError, match=r"the folder holds no \.jpg or \.jpeg or \.png") as error:
        decode(tmp_path / "f", sound)
    assert error.value.reason is Reason.NO_VIDEO


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize(("content", "reason"), [(b"no image", Reason.NOT_MEDIA), (b"", Reason.EMPTY_FILE)])
def test_a_damaged_frame_is_rejected_by_name(tmp_path, sound, number, content, reason):
    folder = write_frames(tmp_path / "f")
    (folder / f"frame_{number}.jpg").write_bytes(content)
    spec = SPEC.model_copy(update={"num_frames": 10})
    with pytest.raises(MediaError, match=f"frame_{number}.jpg: ") as error:
        decode(folder, sound, spec)
    assert error.value.reason is reason


def test_a_pipe_among_the_frames_is_not_waited_for(tmp_path, sound):
    folder = write_frames(tmp_path / "f", 2)
    os.mkfifo(folder / "frame_2.jpg")
    with pytest.raises(MediaError, match=r"frame_2\.jpg: not a regular file"):
        decode(folder, sound)


def test_a_name_that_is_a_pattern_to_ffmpeg_is_a_name(tmp_path, sound):
    folder = write_frames(tmp_path / "f", 3)
    (folder / "frame_1.jpg").rename(folder / "frame_%d.jpg")
    assert sorted(set(spelled(decode(folder, sound)))) == [0, 1, 2]


def test_a_folder_without_sound_and_frames_past_the_limits_are_rejected(tmp_path, sound):
    folder = write_frames(tmp_path / "f")
    with pytest.raises(MediaError) as error:
        decode(folder, None)
    assert error.value.reason is Reason.NO_AUDIO
    with pytest.raises(MediaError) as error:
        decode(folder, sound, SPEC.model_copy(update={"max_side_px": 32}))
    assert error.value.reason is Reason.TOO_LARGE
