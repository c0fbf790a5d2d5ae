"""A decoder in a child process that can hang, crash, leak or be taken over without harm to the job.

The child lives on from clip to clip, so the price is one start per `recycle_after_clips` clips. A request is
always waiting in the child's socket while it works, so it never idles. What it may do is in `guard`: it has none of
this process's environment, so none of its credentials, and nothing that it says is run here.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType

from mmcsal.contracts.reject import Reason
from mmcsal.import_path import is_trusted
from mmcsal.media.decode import Clip, Source
from mmcsal.media.guard.wire import Channel, WireError, receive_result, request_of
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

# One in work and one waiting: enough to keep the child busy, few to repeat when it dies.
NUM_IN_FLIGHT = 2
NUM_CRASHES_ALLOWED = 1
START_TIMEOUT_S = 120.0
PARTING_S = 10.0  # from closing its socket to its end: gigabytes take time to be freed
Request = tuple[Source | MediaError, int]  # and how often it has crashed the child
PROGRAM = "from mmcsal.media.guard.child import serve; serve({fd})"
# -I: neither the working folder nor the environment says where modules lie; the worker does, before any is loaded.
BEGIN = "import sys; sys.path[:] = sys.argv[1:]\n"
# All of the environment that a child is given; no credentials are here.
PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ")  # decord reads PATH
SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "DECORD_LOG_LEVEL": "fatal"}


class DecodeProcess:
    """Decodes samples in a child process; use as a context manager or call `close()`."""

    def __init__(self, spec: MediaSpec, *, program: str = PROGRAM) -> None:
        """`program` is the Python text that the child runs; `{fd}` in it is the child's end of the socket."""
        self._spec, self._program = spec, program
        self._child: subprocess.Popen | None = None
        self._channel: Channel | None = None
        self.layers: list[str] = []  # of protection that the child has beside its limits
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
        channel = self._connect()
        begun_s = time.perf_counter()
        try:
            while waiting and len(in_flight) < NUM_IN_FLIGHT and not (in_flight and self._recycle_is_due()):
                in_flight.append(waiting.popleft())
                self._send(channel, in_flight[-1][0])
            first, _ = in_flight[0]
            if isinstance(first, MediaError):
                self.last_decode_s = 0.0
                return first
            result, self.last_decode_s = receive_result(channel, self._spec, self._spec.timeout_s)
            return result
        except TimeoutError:
            problem = MediaError(Reason.TIMEOUT, f"no clip after media.timeout_s = {self._spec.timeout_s:g} s")
        except WireError as error:
            problem = MediaError(Reason.CRASH, f"the decoder process answered with what is no clip: {error}")
        except (EOFError, OSError):
            problem = MediaError(Reason.CRASH, f"the decoder process died ({self._how(self._exit_status())})")
        self.last_decode_s = time.perf_counter() - begun_s
        return problem

    def _exit_status(self) -> int | None:
        """Of a child that has closed its socket; one that lives on all the same is killed."""
        if self._child is None:
            return None
        try:
            return self._child.wait(PARTING_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def _how(self, code: int | None) -> str:
        """What an exit status means: -11 is the signal SIGSEGV."""
        if code is None or code >= 0:
            return f"exit status {code}"
        if code == -signal.SIGABRT:  # C++ ends so where there is no memory left
            limit = f"media.decoder_memory_bytes = {self._spec.decoder_memory_bytes}"
            return f"SIGABRT, as where a file needs more memory than {limit}"
        return next((s.name for s in signal.Signals if s == -code), f"signal {-code}")

    def _send(self, channel: Channel, source: Source | MediaError) -> None:
        if isinstance(source, Source):
            header, descriptors = request_of(source)
            channel.send(header, descriptors=descriptors)
            self._num_served += 1

    def _recycle_is_due(self) -> bool:
        return self._num_served >= self._spec.recycle_after_clips

    def _connect(self) -> Channel:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            program = BEGIN + self._program.format(fd=theirs.fileno())
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-c", program, *filter(is_trusted, sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment | SETTINGS,
            )
            theirs.close()
            self._channel = Channel(ours)
            self._num_served = 0
            self._wait_until_ready(self._channel)
        return self._channel

    def _wait_until_ready(self, channel: Channel) -> None:
        """The child's imports are not the first file's fault."""
        try:
            channel.send(self._spec.model_dump())
            self.layers = channel.receive(START_TIMEOUT_S)[0]["layers"]
        except (EOFError, OSError, WireError, KeyError):
            self.close()
            raise RuntimeError("the decoder process did not start; its own message stands above in this log") from None

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._channel = self._child = None

    def __enter__(self) -> "DecodeProcess":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
