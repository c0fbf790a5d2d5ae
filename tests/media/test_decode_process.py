import os
import signal
import time

import numpy as np
import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window_s=2.0, num_frames=4, frame_size_px=32, timeout_s=3.0)

# The real child, whose decoder hangs or dies on files with a telling name, as decoders do on telling bytes.
POISONED = """
import os, time
import mmcsal.media.guard.child as d
real = d.decode_clip
def decode(source, spec):
    if "hang" in source.uri: time.sleep(600)
    if "abort" in source.uri: os.abort()
    if "slow" in source.uri: time.sleep(0.5)
    if "surprise" in source.uri: raise RuntimeError("nobody expects this")
    if "once" in source.uri and os.path.exists(source.uri + ".first"): os.abort()
    return real(source, spec)
d.decode_clip = decode
d.serve({fd})
"""


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    return write_timed_clip(tmp_path_factory.mktemp("clips") / "a.mp4", 2.0)


def decode_all(paths, spec=SPEC, program=POISONED):
    with DecodeProcess(spec, program=program) as process:
        return list(process.map([Source(str(i), str(path)) for i, path in enumerate(paths)]))


def kinds(results):
    return [r.reason if isinstance(r, MediaError) else "clip" for r in results]


def test_results_come_in_order_and_equal_those_of_this_process(clip_path, tmp_path):
    other = write_timed_clip(tmp_path / "b.mp4", 3.0)
    from mmcsal.media.decode import decode_clip

    results = decode_all([clip_path, other, clip_path])
    for result, path in zip(results, [clip_path, other, clip_path], strict=True):
        here = decode_clip(Source("s", str(path)), SPEC)
        np.testing.assert_array_equal(result.video_THWC, here.video_THWC)
        np.testing.assert_array_equal(result.audio_L, here.audio_L)


def test_a_file_that_hangs_costs_only_itself(clip_path):
    assert kinds(decode_all([clip_path, "hang", clip_path, clip_path])) == ["clip", Reason.TIMEOUT, "clip", "clip"]


def test_a_file_that_kills_the_decoder_costs_only_itself(clip_path):
    paths = [clip_path, "abort", clip_path, "abort", "abort", clip_path]
    crash = Reason.CRASH
    assert kinds(decode_all(paths)) == ["clip", crash, "clip", crash, crash, "clip"]


def test_a_crash_that_does_not_repeat_is_not_the_files_fault(clip_path, tmp_path):
    path = tmp_path / "once.mp4"
    path.write_bytes(clip_path.read_bytes())
    first = tmp_path / "once.mp4.first"
    first.touch()

    class Once(DecodeProcess):
        def close(self):
            super().close()
            first.unlink(missing_ok=True)

    with Once(SPEC, program=POISONED) as process:
        results = process.map([Source("0", str(path)), Source("1", str(clip_path))])
        assert isinstance(next(results), Clip)
        assert not first.exists(), "the first attempt has to have crashed"
        assert kinds(results) == ["clip"]


def test_an_unforeseen_error_is_a_reject_with_its_message(clip_path):
    results = decode_all(["surprise", clip_path])
    assert kinds(results) == [Reason.DECODE_ERROR, "clip"]
    assert isinstance(results[0], MediaError)
    assert "nobody expects this" in results[0].detail


def test_a_child_killed_between_files_is_replaced(clip_path):
    with DecodeProcess(SPEC) as process:
        assert isinstance(next(process.map([Source("0", str(clip_path))])), Clip)
        assert process._child is not None
        os.kill(process._child.pid, signal.SIGKILL)
        process._child.wait()
        assert isinstance(next(process.map([Source("1", str(clip_path))])), Clip)


def test_the_child_is_replaced_after_so_many_clips(clip_path):
    spec = SPEC.model_copy(update={"recycle_after_clips": 2})
    with DecodeProcess(spec) as process:
        pids = set()
        for result in process.map([Source(str(i), str(clip_path)) for i in range(6)]):
            assert isinstance(result, Clip)
            assert process._child is not None
            pids.add(process._child.pid)
    assert len(pids) == 3


def test_a_child_that_cannot_start_is_an_error_and_not_the_files_fault(clip_path):
    with pytest.raises(RuntimeError, match="did not start"):
        decode_all([clip_path], program="import no_such_module")


def test_the_seconds_of_a_result_are_those_of_its_work_and_not_of_waiting():
    seconds = []
    with DecodeProcess(SPEC, program=POISONED) as process:
        for _ in process.map([Source("a", "slow"), Source("b", "surprise"), Source("c", "hang")]):
            seconds.append(process.last_decode_s)
            time.sleep(1.0)  # the child has long been done with the next one
    slow, surprise, hang = seconds
    assert surprise < 0.5 <= slow
    assert hang >= SPEC.timeout_s
