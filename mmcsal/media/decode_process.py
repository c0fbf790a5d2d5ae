"""A decoder in a child process that can hang, crash or leak without harm to the job.

The child lives on from clip to clip, so the price is one start per `recycle_after_clips` clips. A request is
always waiting in the child's socket while it works, so it never idles.
"""

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from types import TracebackType

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source, decode_clip
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

# One in work and one waiting: enough to keep the child busy, few to repeat when it dies.
NUM_IN_FLIGHT = 2
NUM_CRASHES_ALLOWED = 1
START_TIMEOUT_S = 120.0
READY = "ready"
Request = tuple[Source | MediaError, int]  # and how often it has crashed the child
PROGRAM = "from mmcsal.media.decode_process import serve; serve({fd})"


class DecodeProcess:
    """Decodes samples in a child process; use as a context manager or call `close()`."""

    def __init__(self, spec: MediaSpec, *, program: str = PROGRAM) -> None:
        """`program` is the Python text that the child runs; `{fd}` in it is the child's end of the socket."""
        self._spec, self._program = spec, program
        self._child: subprocess.Popen | None = None
        self._connection: Connection | None = None
        self._num_served = 0
        # Seconds that the child worked on the result that `map` gave last; where it hung or died, those until that.
        self.last_decode_s = 0.0

    def map(self, sources: Iterable[Source | MediaError]) -> Iterator[Clip | MediaError]:
        """One result for each source, in order: its clip, or the error for which it is rejected.

        Sources are taken as they are needed; an error in the place of one comes back in its turn.
        A file that crashes the child is tried once more in a fresh child, since the crash may have been
        the machine's (out of memory); a file that takes longer than `timeout_s` is not.
        """
        upcoming = iter(sources)
        waiting: deque[Request] = deque()
        in_flight: deque[Request] = deque()
        while True:
            free = NUM_IN_FLIGHT - len(waiting) - len(in_flight)
            waiting.extend((source, 0) for source in islice(upcoming, max(free, 0)))
            if not waiting and not in_flight:
                return
            if self._recycle_is_due() and not in_flight:
                self.close()
            result = self._next_result(waiting, in_flight)
            source, num_crashes = in_flight.popleft()
            if isinstance(result, MediaError) and result.reason in (Reason.TIMEOUT, Reason.CRASH):
                self.close()
                waiting.extendleft(reversed(in_flight))  # innocent: they were only waiting
                in_flight.clear()
                if result.reason is Reason.CRASH and num_crashes < NUM_CRASHES_ALLOWED:
                    waiting.appendleft((source, num_crashes + 1))
                    continue
            yield result

    def _next_result(self, waiting: deque[Request], in_flight: deque[Request]) -> Clip | MediaError:
        """Sends what may be sent, then waits for the result of the first request in flight."""
        connection = self._connect()
        begun_s = time.perf_counter()
        try:
            while waiting and len(in_flight) < NUM_IN_FLIGHT and not (in_flight and self._recycle_is_due()):
                in_flight.append(waiting[0])
                connection.send(waiting.popleft()[0])
                self._num_served += 1
            if connection.poll(self._spec.timeout_s):
                result, self.last_decode_s = pickle.loads(connection.recv_bytes())
                return result
            self.last_decode_s = time.perf_counter() - begun_s
            return MediaError(Reason.TIMEOUT, f"no clip after media.timeout_s = {self._spec.timeout_s:g} s")
        except (EOFError, OSError):
            self.last_decode_s = time.perf_counter() - begun_s
            code = self._child.wait() if self._child else None
            return MediaError(Reason.CRASH, f"the decoder process died (exit status {code})")

    def _recycle_is_due(self) -> bool:
        return self._num_served >= self._spec.recycle_after_clips

    def _connect(self) -> Connection:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            program = self._program.format(fd=theirs.fileno())
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "DECORD_LOG_LEVEL": "fatal"}
            self._child = subprocess.Popen(
                [sys.executable, "-c", program], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
            theirs.close()
            self._connection = Connection(ours.detach())
            self._connection.send(self._spec)
            self._num_served = 0
            self._wait_until_ready()
        return self._connection

    def _wait_until_ready(self) -> None:
        """The child's imports are not the first file's fault."""
        assert self._connection is not None
        try:
            if self._connection.poll(START_TIMEOUT_S) and self._connection.recv() == READY:
                return
        except (EOFError, OSError):
            pass
        self.close()
        raise RuntimeError("the decoder process did not start; its own message stands above in this log")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._connection = self._child = None

    def __enter__(self) -> "DecodeProcess":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve(file_descriptor: int) -> None:
    """The child: answers requests until its parent goes away."""
    import av.logging
    import decord

    # Their complaints about broken files would drown the job's log; the reject row has the message.
    decord.logging.set_level(decord.logging.QUIET)
    av.logging.set_level(av.logging.PANIC)
    threading.Thread(target=_exit_with_parent, args=[os.getppid()], daemon=True).start()
    connection = Connection(file_descriptor)
    spec = connection.recv()
    connection.send(READY)
    while True:
        try:
            source = connection.recv()
        except EOFError:
            return
        begun_s = time.perf_counter()
        result = _decode(source, spec)
        connection.send_bytes(pickle.dumps((result, time.perf_counter() - begun_s), protocol=5))


def _decode(source: Source | MediaError, spec: MediaSpec) -> Clip | MediaError:
    if isinstance(source, MediaError):
        return source
    try:
        return decode_clip(source, spec)
    except MediaError as error:
        return error
    except Exception as error:  # a decoder's surprise is this file's reject, not the job's end
        return MediaError(Reason.DECODE_ERROR, f"{type(error).__name__}: {error}")


def _exit_with_parent(parent: int) -> None:
    """A hung decoder cannot see its socket close; so a thread looks whether the parent is still there."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
