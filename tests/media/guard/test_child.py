"""The real child: what it is given, what it imports, and which files it turns down before it decodes."""

import os
import sys

import numpy as np
import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.datasets.synthetic.encode import write_mp4
from mmcsal.media import decode_process
from mmcsal.media.decode import Clip, Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.content import combine_hashes, hash_content
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window_s=2.0, num_frames=4, frame_size_px=32, timeout_s=60.0)
# Tells what it knows in the place of decoding.
TALKATIVE = """
import os
import mmcsal.media.guard.child as d
def decode(source, spec): raise ValueError(str(dict(os.environ)) + str(len(os.listdir("/proc/self/fd"))) + " files")
d.decode_clip = decode
d.serve({fd})
"""
# As a decoder does whose buffers follow the size that a header claims.
GREEDY = """
import numpy as np
import mmcsal.media.guard.child as d
def decode(source, spec): return np.ones(2**40, np.uint8)
d.decode_clip = decode
d.serve({fd})
"""
# Answers as what has been taken over might: with a pickle.
HIJACKED = """
import os, pickle, socket, struct
import mmcsal.media.guard.child as d
def answer(result, seconds):
    class Evil:
        def __reduce__(self): return os.mkdir, ({folder!r},)
    end = socket.socket(fileno=os.dup({{fd}}))
    text = pickle.dumps(Evil())
    end.sendall(struct.pack("<I", len(text)) + text)
    return dict(), ()
d.answer_of = answer
d.serve({{fd}})
"""
# Closes its socket, and does not end.
SILENT = """
import socket, time
import mmcsal.media.guard.child as d
def answer(result, seconds):
    socket.socket(fileno={fd}).shutdown(socket.SHUT_RDWR)
    time.sleep(1000)
d.answer_of = answer
d.serve({fd})
"""


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    return write_timed_clip(tmp_path_factory.mktemp("clips") / "a.mp4", 2.0)


@pytest.fixture(scope="module")
def decoder():
    """One child for all that does not mind."""
    with DecodeProcess(SPEC) as process:
        yield lambda source: next(process.map([source]))


def decoded(source, spec=SPEC, **program):
    with DecodeProcess(spec, **program) as process:
        return next(process.map([source]))


def test_the_child_has_no_credentials_and_no_descriptors_of_its_worker(clip_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with open(clip_path):
        result = decoded(Source("s", str(clip_path)), program=TALKATIVE)
    assert isinstance(result, MediaError)
    assert "OMP_NUM_THREADS" in result.detail
    assert "secret" not in result.detail
    assert "}5 files" in result.detail  # three of every process, the socket, the listing


def test_python_files_beside_the_videos_are_not_imported(clip_path, tmp_path, monkeypatch):
    for name in ("decord", "av", "math", "json", "socket", "mmcsal", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file beside the videos was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert isinstance(decoded(Source("s", str(clip_path))), Clip)


def test_a_file_that_was_replaced_since_the_scan_is_a_reject(decoder, clip_path, tmp_path):
    known = hash_content(str(clip_path))
    assert isinstance(decoder(Source("s", str(clip_path), content_hash=known)), Clip)
    other = write_timed_clip(tmp_path / "b.mp4", 3.0)
    result = decoder(Source("s", str(other), content_hash=known))
    assert isinstance(result, MediaError)
    assert result.reason is Reason.CHANGED


def test_of_two_files_either_may_have_changed(decoder, clip_path, tmp_path):
    sound = write_timed_clip(tmp_path / "sound.mp4", 2.0)
    known = combine_hashes([hash_content(str(clip_path)), hash_content(str(sound))])
    source = Source("s", str(clip_path), str(sound), content_hash=known)
    assert isinstance(decoder(source), Clip)
    with open(sound, "ab") as file:
        file.write(b"more")
    result = decoder(source)
    assert isinstance(result, MediaError)
    assert result.reason is Reason.CHANGED


def test_a_file_that_became_a_pipe_or_is_gone_is_not_waited_for(decoder, clip_path, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    known = hash_content(str(clip_path))
    for name in ("pipe.mp4", "gone.mp4"):
        result = decoder(Source("s", str(tmp_path / name), content_hash=known))
        assert isinstance(result, MediaError)
        assert result.reason is Reason.MISSING_FILE


def test_what_takes_too_much_memory_is_too_large_and_names_the_key(clip_path):
    result = decoded(Source("s", str(clip_path)), program=GREEDY)
    assert isinstance(result, MediaError)
    assert result.reason is Reason.TOO_LARGE
    assert "media.decoder_memory_bytes" in result.detail


def test_a_small_file_of_a_huge_picture_is_a_reject_before_anything_is_decoded(tmp_path):
    frames_THWC = np.zeros((32, 2, 8190, 3), np.uint8)
    sound_L = np.zeros(32000, np.float32)
    write_mp4(
        str(tmp_path / "wide.mp4"), frames_THWC=frames_THWC, frame_rate_hz=16, sound_L=sound_L, sample_rate_hz=16000
    )
    spec = SPEC.model_copy(update={"decoder_memory_bytes": 2**28, "frame_size_px": 112, "num_frames": 16})
    result = decoded(Source("s", str(tmp_path / "wide.mp4")), spec)
    assert isinstance(result, MediaError)
    assert result.reason is Reason.TOO_LARGE
    assert "media.max_aspect" in result.detail


def test_what_a_hijacked_child_sends_is_not_run(clip_path, tmp_path):
    folder = tmp_path / "made"
    result = decoded(Source("s", str(clip_path)), program=HIJACKED.format(folder=str(folder)))
    assert isinstance(result, MediaError)
    assert result.reason is Reason.CRASH
    assert not folder.exists()


def test_a_child_that_falls_silent_and_does_not_end_is_killed(clip_path, monkeypatch):
    monkeypatch.setattr(decode_process, "PARTING_S", 0.1)
    result = decoded(Source("s", str(clip_path)), program=SILENT)
    assert isinstance(result, MediaError)
    assert result.reason is Reason.CRASH
    assert "SIGKILL" in result.detail
