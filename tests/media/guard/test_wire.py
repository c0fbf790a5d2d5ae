"""A worker takes nothing on trust: an answer is a clip of the spec, an error with a known reason, or refused."""

import json
import os
import socket
import struct
import threading
from dataclasses import asdict

import numpy as np
import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source
from mmcsal.media.guard.wire import (
    MAX_HEADER_BYTES,
    Channel,
    WireError,
    answer_of,
    receive_result,
    request_of,
    source_of,
)
from mmcsal.media.probe import MediaError, MediaFacts
from mmcsal.media.spec import MediaSpec

SPEC = MediaSpec(window_s=1.0, num_frames=2, frame_size_px=16, sample_rate_hz=4000)
FACTS = MediaFacts("mp4", "h264", "aac", 64, 48, 25.0, 50, 2.0, 44100)
CLIP = {"facts": asdict(FACTS), "duration_s": 2.0, "seconds": 0.1}


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def clip() -> Clip:
    rng = np.random.default_rng(0)
    video_THWC = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    return Clip(video_THWC, rng.integers(-9, 9, 4000).astype(np.int16), 2.0, FACTS)


def test_a_clip_arrives_as_it_was_sent(ends):
    ours, theirs = ends
    header, tensors = answer_of(clip(), 0.5)
    sender = threading.Thread(target=Channel(theirs).send, args=[header, *tensors])
    sender.start()
    result, seconds = receive_result(ours, SPEC, 10.0)
    sender.join()
    assert isinstance(result, Clip)
    np.testing.assert_array_equal(result.video_THWC, clip().video_THWC)
    np.testing.assert_array_equal(result.audio_L, clip().audio_L)
    assert (result.duration_s, result.facts, seconds) == (2.0, FACTS, 0.5)


def test_an_error_arrives_as_one_printable_text(ends):
    ours, theirs = ends
    header, _ = answer_of(MediaError(Reason.NO_AUDIO, "no sound\x1b[2J\nat all"), 0.5)
    Channel(theirs).send(header)
    result, _ = receive_result(ours, SPEC, 10.0)
    assert isinstance(result, MediaError)
    assert (result.reason, result.detail) == (Reason.NO_AUDIO, "no sound [2J at all")


def test_a_source_arrives_with_any_name(ends):
    ours, theirs = ends
    source = Source("id\r\n=1", "/a/\udcff name.mp4", None, 1.5, None, "abc")
    header, descriptors = request_of(source)
    ours.send(header, descriptors=descriptors)
    assert source_of(*Channel(theirs).receive(10.0)) == (source, {})


def test_a_descriptor_travels_with_the_path_that_names_it(ends, tmp_path):
    (tmp_path / "copy").write_text("content")
    ours, theirs = ends
    with open(tmp_path / "copy") as copy:
        named = f"/proc/{os.getpid()}/fd/{copy.fileno()}"
        header, descriptors = request_of(Source("s", "/local.mp4", named))
        ours.send(header, descriptors=descriptors)
    source, written = source_of(*Channel(theirs).receive(10.0))
    assert source.uri == "/local.mp4"
    assert source.audio_uri is not None
    assert written == {source.audio_uri: named}
    with open(source.audio_uri) as file:
        assert file.read() == "content"


def test_a_path_that_names_another_process_is_left_alone(ends):
    header, descriptors = request_of(Source("s", "/proc/1/fd/3"))
    assert descriptors == ()
    assert source_of(header, [])[0].uri == "/proc/1/fd/3"


SPOILED = {
    "not JSON": b"\x80\x04K\x01.",  # a pickle
    "nesting without end": b"[" * 100_000,
    "no header": b"[]",
    "nothing in it": b"{}",
    "unknown reason": {"reason": "because", "detail": "", "seconds": 0},
    "reason of another kind": {"reason": ["crash"], "detail": "", "seconds": 0},
    "detail without end": {"reason": "crash", "detail": "x" * 5000, "seconds": 0},
    "detail that is no text": {"reason": "crash", "detail": {"a": 1}, "seconds": 0},
    "seconds that are none": {"reason": "crash", "detail": "", "seconds": "1"},
    "endless seconds": b'{"reason": "crash", "detail": "", "seconds": Infinity}',
    "duration that is no number": b'{"facts": {}, "duration_s": NaN, "seconds": 0}',
    "no facts": CLIP | {"facts": None},
    "a fact too many": CLIP | {"facts": asdict(FACTS) | {"uri": "/"}},
    "a fact too few": CLIP | {"facts": {k: v for k, v in asdict(FACTS).items() if k != "container"}},
    "a width beyond its column": CLIP | {"facts": asdict(FACTS) | {"width_px": 2**40}},
    "a width that is no whole number": CLIP | {"facts": asdict(FACTS) | {"width_px": True}},
    "a rate that is no number": CLIP | {"facts": asdict(FACTS) | {"frame_rate_hz": "25"}},
}


@pytest.mark.parametrize("said", SPOILED.values(), ids=SPOILED.keys())
def test_what_is_no_answer_is_refused(ends, said):
    ours, theirs = ends
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    threading.Thread(target=theirs.sendall, args=[struct.pack("<I", len(text)) + text], daemon=True).start()
    with pytest.raises(WireError):
        receive_result(ours, SPEC, 10.0)


def test_a_header_of_gigabytes_is_not_waited_for(ends):
    ours, theirs = ends
    theirs.sendall(struct.pack("<I", MAX_HEADER_BYTES + 1))
    with pytest.raises(WireError, match="bytes"):
        receive_result(ours, SPEC, 10.0)


def test_a_tensor_that_ends_too_soon_is_a_loss_and_one_that_never_ends_a_timeout(ends):
    ours, theirs = ends
    header, _ = answer_of(clip(), 0.5)
    Channel(theirs).send(header, np.zeros(5, np.uint8))
    with pytest.raises(TimeoutError):
        receive_result(ours, SPEC, 0.2)
    Channel(theirs).send(header, np.zeros(5, np.uint8))
    theirs.close()
    with pytest.raises((EOFError, WireError)):
        receive_result(ours, SPEC, 10.0)
