"""Who may write a run directory on an object store, where no kernel holds a lock and a driver may vanish silently.

The holder rewrites one small object every quarter of `lease_s`. Who finds it waits until it changes (held) or has not
changed for `lease_s` (its writer is dead: take over). Clocks of two machines are never compared.
"""

import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from mmcsal.contracts.errors import InputError, MmcsalError
from mmcsal.storage.markers import parsed

BEATS_PER_LEASE = 4
# Between writing the lease and reading it back: two drivers that start at once see who was last.
SETTLE_S = 1.0
# Of our own: a job that a script has put into the background ignores SIGINT.
INTERRUPT = signal.SIGUSR2


class Files(Protocol):
    """What a lease needs of a run directory."""

    uri: str

    def exists(self, *names: str) -> bool: ...
    def read_bytes(self, *names: str) -> bytes: ...
    def write_bytes(self, data: bytes, *names: str) -> None: ...
    def delete_file(self, *names: str) -> None: ...


class LeaseLostError(MmcsalError):
    """Another driver has taken the run directory over; this one must not write there any more."""


class Lease:
    """One driver's hold on a run directory."""

    FILE = "_LEASE.json"

    def __init__(self, files: Files, lease_s: float) -> None:
        self._files, self._lease_s = files, lease_s
        self._own: dict[str, Any] = {"token": uuid.uuid4().hex, "beat": 0, **_this_process()}
        self._lost_to: str | None = None

    @contextmanager
    def held(self) -> Iterator["Lease"]:
        """Takes the lease, keeps it alive for the time of the block, gives it back.

        Raises:
            InputError: another driver holds it; known after `lease_s` at most.
            LeaseLostError: another driver took it meanwhile, since this one was not heard of for `lease_s`.
        """
        self._acquire()
        with _interruptible() as can_interrupt, self._beating(can_interrupt):
            try:
                yield self
            except KeyboardInterrupt:
                self.check()  # the beat interrupts the main thread when the lease is lost
                raise

    def check(self) -> None:
        """Asks whether this driver still holds the lease.

        Raises:
            LeaseLostError: another driver has the run directory now.
        """
        if self._lost_to is not None:
            raise LeaseLostError(
                f"run directory {self._files.uri} was taken over by {self._lost_to}, since this driver was not heard "
                f"of for storage.lease_s = {self._lease_s:g} s; let that one finish"
            )

    def _acquire(self) -> None:
        found = self._read()
        if found is not None and not _has_died(found):
            deadline_s = time.monotonic() + self._lease_s
            while time.monotonic() < deadline_s:
                time.sleep(self._lease_s / BEATS_PER_LEASE / 4)
                seen = self._read()
                if seen is None:
                    break
                if seen != found:
                    self._refuse(seen)
        self._write()
        time.sleep(min(SETTLE_S, self._lease_s / BEATS_PER_LEASE))
        seen = self._read()
        if seen is None or seen["token"] != self._own["token"]:
            self._refuse(seen or {})

    def _refuse(self, holder: dict[str, Any]) -> None:
        raise InputError(
            f"run directory {self._files.uri} is in use by {_name(holder)}; "
            "wait for it to end, or give another --run-dir"
        )

    @contextmanager
    def _beating(self, can_interrupt: bool) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=[stop, can_interrupt], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            if self._lost_to is None:
                with suppress(OSError):  # it runs out by itself
                    self._files.delete_file(self.FILE)

    def _beat(self, stop: threading.Event, can_interrupt: bool) -> None:
        while not stop.wait(self._lease_s / BEATS_PER_LEASE):
            with suppress(OSError):  # the next beat may come through; a lease of four beats has room for it
                seen = self._read()
                if seen is not None and seen["token"] != self._own["token"]:
                    self._lost_to = _name(seen)
                    if can_interrupt:
                        _interrupt_main_thread()
                    return
                self._own["beat"] += 1
                self._write()

    def _read(self) -> dict[str, Any] | None:
        if not self._files.exists(self.FILE):
            return None
        with suppress(FileNotFoundError):  # given back in between
            content = parsed(self._files.read_bytes(self.FILE), f"{self._files.uri}/{self.FILE}")
            return {"token": "", **content}
        return None

    def _write(self) -> None:
        self._files.write_bytes(json.dumps(self._own).encode(), self.FILE)


@contextmanager
def _interruptible() -> Iterator[bool]:
    """Whether `_interrupt_main_thread` interrupts the block: elsewhere than in the main thread `check` has to do."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = signal.signal(INTERRUPT, signal.default_int_handler)
    try:
        yield True
    finally:
        signal.signal(INTERRUPT, before)


def _interrupt_main_thread() -> None:
    """A real signal: `_thread.interrupt_main` does not wake what sleeps or waits for a lock."""
    main_thread = threading.main_thread().ident
    if main_thread is not None:
        signal.pthread_kill(main_thread, INTERRUPT)


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot_id(), "pid": os.getpid(), "started": _start_of(os.getpid())}


def _has_died(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this very machine that is gone: then nobody need wait for it."""
    here = _this_process()
    same_machine = holder.get("boot") == here["boot"] and holder.get("host") == here["host"]
    return bool(same_machine and here["boot"] and _start_of(holder.get("pid", 0)) != holder.get("started"))


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _start_of(pid: int) -> str:
    """When a living process started, in the kernel's ticks; else empty. A number alone may be used again."""
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return "" if state == "Z" else fields[18]
    return ""


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'another machine')}"
