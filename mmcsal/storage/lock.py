"""One driver at a time in a local run directory: the kernel's lock on a file, which ends however its process ends."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mmcsal.contracts.errors import InputError
from mmcsal.storage.uri import explained

# Whoever made the directory may have put a link or a pipe there: neither is followed, none is waited for.
FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def file_lock(path: str, uri: str) -> Iterator[None]:
    """Holds the lock for the time of the block; the file names the process for others to read.

    Raises:
        InputError: another process holds it, or the file is none; `uri` of the run directory stands in the error.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = _open(path, uri, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise explained(error, "run directory", uri) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode(errors="replace").strip()
            raise InputError(
                f"run directory {uri} is in use by process {holder if holder.isdigit() else '?'}; "
                "wait for it to end, or give another --run-dir"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def is_locked(path: str, uri: str) -> bool:
    """Whether a process holds the lock."""
    try:
        lock = _open(path, uri, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _open(path: str, uri: str, flags: int) -> int:
    try:
        lock = os.open(path, FLAGS | flags, 0o644)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _no_lock(path, uri) from error
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise _no_lock(path, uri)
    return lock


def _no_lock(path: str, uri: str) -> InputError:
    return InputError(
        f"run directory {uri}: {path} is no regular file (a link, a pipe or a folder); delete it, or give another "
        "--run-dir"
    )
