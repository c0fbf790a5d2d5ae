import os
from pathlib import Path

import av
import numpy as np
import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window_s=2.0, num_frames=8, frame_size_px=32)


def reason_of(path: Path, **source) -> Reason:
    with pytest.raises(MediaError) as error:
        decode_clip(Source("s", str(path), **source), SPEC)
    assert error.value.detail
    return error.value.reason


def expected_gray(time_s: np.ndarray, duration_s: float) -> np.ndarray:
    return 40 + 160 * time_s / duration_s


def test_a_movie_that_nobody_here_made(movies):
    clip = decode_clip(Source("s", str(movies / "bigbuckbunny.mp4")), SPEC)
    assert clip.video_THWC.shape == (8, 32, 32, 3)
    assert clip.video_THWC.std() > 10
    assert clip.audio_L.shape == (32000,)
    assert clip.audio_L.std() > 10
    assert clip.duration_s == pytest.approx(5.28, abs=0.05)
    assert (clip.facts.width_px, clip.facts.height_px, clip.facts.sample_rate_hz) == (1280, 720, 48000)


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4"])
def test_a_movie_without_sound_is_rejected(movies, name):
    assert reason_of(movies / name) is Reason.NO_AUDIO


def test_frames_and_sound_of_a_short_clip_are_the_right_ones(tmp_path):
    clip = decode_clip(Source("s", str(write_timed_clip(tmp_path / "a.mp4", 2.0))), SPEC)
    # The middles of eight slices of a quarter second; frames last 1/16 s.
    times_s = np.floor((np.arange(8) + 0.5) * 0.25 * 16) / 16
    np.testing.assert_allclose(clip.video_THWC.mean(axis=(1, 2, 3)), expected_gray(times_s, 2.0), atol=4)
    assert np.abs(clip.audio_L[2000:14000]).max() < 200
    assert np.abs(clip.audio_L[18000:30000]).max() > 8000


def test_the_middle_of_a_long_clip_is_taken_for_both_modalities(tmp_path):
    clip = decode_clip(Source("s", str(write_timed_clip(tmp_path / "a.mp4", 10.0))), SPEC)
    times_s = np.floor((4 + (np.arange(8) + 0.5) * 0.25) * 16) / 16
    np.testing.assert_allclose(clip.video_THWC.mean(axis=(1, 2, 3)), expected_gray(times_s, 10.0), atol=4)
    onset = int(np.argmax(np.abs(clip.audio_L) > 2000))  # the tone begins at 5 s, a second into the window
    assert onset == pytest.approx(16000, abs=1100)


def test_a_part_of_a_file_is_a_sample(tmp_path):
    path = write_timed_clip(tmp_path / "a.mp4", 10.0)
    clip = decode_clip(Source("s", str(path), start_s=6.0, duration_s=1.0), SPEC)
    assert clip.duration_s == 1.0
    times_s = np.floor((6 + (np.arange(8) + 0.5) / 8) * 16) / 16
    np.testing.assert_allclose(clip.video_THWC.mean(axis=(1, 2, 3)), expected_gray(times_s, 10.0), atol=4)
    assert np.abs(clip.audio_L[:16000]).max() > 8000
    assert not clip.audio_L[16000:].any(), "past its second the sound is padded with silence"


def test_the_sound_may_lie_in_a_file_of_its_own(tmp_path):
    picture = write_timed_clip(tmp_path / "v.mp4", 2.0, sound=False)
    sound = write_timed_clip(tmp_path / "a.mp4", 2.0, picture=False)
    clip = decode_clip(Source("s", str(picture), str(sound)), SPEC)
    assert np.abs(clip.audio_L[18000:30000]).max() > 8000


def test_the_aspect_ratio_is_kept(movies):
    wide = decode_clip(Source("s", str(movies / "bigbuckbunny.mp4")), SPEC.model_copy(update={"frame_size_px": 64}))
    import decord

    reader = decord.VideoReader(str(movies / "bigbuckbunny.mp4"), width=114, height=64)
    middle = reader[0].asnumpy().shape[1] // 2
    assert wide.video_THWC.shape[1:3] == (64, 64)
    assert middle == 57


def test_a_missing_file(tmp_path):
    assert reason_of(tmp_path / "no.mp4") is Reason.MISSING_FILE


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason_of(tmp_path / "pipe.mp4") is Reason.MISSING_FILE


def test_a_folder_without_frames_is_no_media(tmp_path):
    assert reason_of(tmp_path) is Reason.NO_VIDEO


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert reason_of(tmp_path / "a.mp4") is Reason.EMPTY_FILE


def test_text_under_a_video_name(tmp_path):
    (tmp_path / "a.mp4").write_text("not a film " * 1000)
    assert reason_of(tmp_path / "a.mp4") is Reason.NOT_MEDIA


def test_sound_only(tmp_path):
    assert reason_of(write_timed_clip(tmp_path / "a.mp4", 2.0, picture=False)) is Reason.NO_VIDEO


def test_too_short(tmp_path):
    assert reason_of(write_timed_clip(tmp_path / "a.mp4", 0.25)) is Reason.TOO_SHORT


def test_a_part_after_the_end_of_the_file(tmp_path):
    assert reason_of(write_timed_clip(tmp_path / "a.mp4", 2.0), start_s=9.0, duration_s=1.0) is Reason.TOO_SHORT


def test_a_file_without_its_index(tmp_path):
    path = write_timed_clip(tmp_path / "a.mp4", 2.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError) as error:
        decode_clip(Source("s", str(path)), SPEC)
    assert (error.value.reason, error.value.detail) == (Reason.DECODE_ERROR, "cut off: no index (moov)")


def test_a_movie_cut_off_in_the_middle_of_its_data(movies, tmp_path):
    whole = (movies / "bigbuckbunny.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 3])
    assert reason_of(cut) in {Reason.DECODE_ERROR, Reason.NOT_MEDIA}


def test_a_container_that_does_not_begin_at_zero(tmp_path):
    """MPEG-TS starts its clock at 1.4 s: sound and picture must still be of the same moment."""
    path = write_timed_clip(tmp_path / "a.mp4", 10.0)
    stream = tmp_path / "a.ts"
    with av.open(str(path)) as source, av.open(str(stream), "w", format="mpegts") as target:
        copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    clip = decode_clip(Source("s", str(stream)), SPEC)
    onset = int(np.argmax(np.abs(clip.audio_L) > 2000))
    assert onset == pytest.approx(16000, abs=2000)
    times_s = np.floor((4 + (np.arange(8) + 0.5) * 0.25) * 16) / 16
    np.testing.assert_allclose(clip.video_THWC.mean(axis=(1, 2, 3)), expected_gray(times_s, 10.0), atol=9)  # two frames
