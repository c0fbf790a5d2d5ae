"""What files hold, in short: hashes by which a corpus is known again, and a file that was replaced is found."""

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from pyarrow import fs

_EDGE_BYTES = 64 * 1024
_DIGEST_BYTES = 16
_NUM_THREADS = 8  # of waiting on a disk, not of computing
_PATHS_PER_TASK = 256  # a future a file would cost more memory than the manifest itself


def hash_listed(info: fs.FileInfo) -> str:
    """Hex blake2b of what a store says of an object, its size and time of change: reading it would cost requests.

    Whole seconds of time: some stores tell more of it in a listing than of one object.
    """
    changed_ns = (info.mtime_ns or 0) // 10**9 * 10**9
    return blake2b(f"{info.size} {changed_ns}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


def is_regular(path: str) -> bool:
    """Whether `path` is a file, and no pipe, device or socket, which could be waited on for ever.

    Raises:
        OSError, ValueError: there is nothing, or it may not be looked at.
    """
    return stat.S_ISREG(os.stat(path).st_mode)


def hash_content(path: str) -> str | None:
    """Hex blake2b of a file's size, first and last 64 KiB; of a folder, of its files' names and sizes.

    None if it cannot be read, or is neither. That is no error here: ingest makes it a reject with its reason.
    """
    try:
        if os.path.isdir(path):
            return _hash_folder(path)
        if not is_regular(path):
            return None
        with open(path, "rb", opener=_open_at_once) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, size_bytes - _EDGE_BYTES))
            tail = file.read(_EDGE_BYTES)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    digest = blake2b(size_bytes.to_bytes(8, "little"), digest_size=_DIGEST_BYTES)
    digest.update(head)
    digest.update(tail)
    return digest.hexdigest()


def _hash_folder(path: str) -> str:
    with os.scandir(path) as entries:
        sizes = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
    return blake2b(repr(sizes).encode(errors="surrogateescape"), digest_size=_DIGEST_BYTES).hexdigest()


def hash_contents(paths: Sequence[str]) -> list[str | None]:
    """`hash_content` of each path, in order, read by a few threads."""
    chunks = [paths[i : i + _PATHS_PER_TASK] for i in range(0, len(paths), _PATHS_PER_TASK)]
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        return [h for hashes in pool.map(_hash_chunk, chunks) for h in hashes]


def combine_hashes(hashes: Sequence[str | None]) -> str | None:
    """One hash for a sample of several files; None as soon as one file has none."""
    if any(h is None for h in hashes):
        return None
    if len(hashes) == 1:
        return hashes[0]
    return blake2b("".join(h or "" for h in hashes).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _open_at_once(path: str, flags: int) -> int:
    """Does not wait for the writer of a pipe that has taken a file's place meanwhile."""
    return os.open(path, flags | os.O_NONBLOCK)


def _hash_chunk(paths: Sequence[str]) -> list[str | None]:
    return [hash_content(p) for p in paths]
