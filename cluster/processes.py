"""The processes of a local cluster, found again by a variable of their environment, whoever started them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def environments() -> Iterator[tuple[int, list[str]]]:
    """The pid and the environment, as NAME=VALUE, of every process that we may look into; of zombies it is empty."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "environ").read_text(errors="replace").split("\0")
            except OSError:  # gone, or another user's
                continue


def marked_pids(mark: str) -> list[int]:
    """Processes whose environment holds `mark`, a NAME=VALUE, and children of theirs that are given none of it."""
    marked = {pid for pid, environment in environments() if mark in environment}
    return sorted(marked | {pid for pid in _all_pids() if _parent(pid) in marked})


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # gone
        return None


def kill_all(mark: str) -> None:
    """SIGKILL of all that carry the mark, until none is left: some start others meanwhile."""
    wait_until(lambda: not signal_all(marked_pids(mark), signal.SIGKILL), 30, f"no process has {mark}", pause_s=0.05)


def signal_all(pids: list[int], number: signal.Signals) -> list[int]:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return pids


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.3) -> None:
    """Raises: TimeoutError: `what` did not come true."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(pause_s)


def ports_in_use() -> set[int]:
    """Local TCP ports of this machine."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
