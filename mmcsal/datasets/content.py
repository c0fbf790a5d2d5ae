"""Where media lie and what they hold: the content hash of files, and URIs as the manifest writes them."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from mmcsal.contracts.errors import InputError

_EDGE_BYTES = 64 * 1024
_DIGEST_BYTES = 16
_NUM_THREADS = 8  # of waiting on a disk, not of computing
_PATHS_PER_TASK = 256  # a future a file would cost more memory than the manifest itself
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def has_scheme(uri: str) -> bool:
    """Whether `uri` names a store (`s3://`, `gs://`, `https://`) and not a local path."""
    return _SCHEME.match(uri) is not None


def existing_path(path: str, *, what: str) -> str:
    """The absolute path of a local file or folder; `what` stands in the error.

    Raises: InputError: there is none.
    """
    absolute = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(absolute):
        raise InputError(
            f"{what} {absolute!r} does not exist; check the path (a relative one starts at {os.getcwd()!r})"
        )
    return absolute


def hash_content(path: str) -> str | None:
    """Hex blake2b of a file's size, first and last 64 KiB; None if it cannot be read.

    An unreadable file is not an error here: ingest makes it a reject with its reason.
    """
    try:
        with open(path, "rb") as file:
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


def _hash_chunk(paths: Sequence[str]) -> list[str | None]:
    return [hash_content(p) for p in paths]
