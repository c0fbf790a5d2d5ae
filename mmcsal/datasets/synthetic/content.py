"""Where media lie and what they hold: the content hash of files, and URIs as the manifest writes them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from urllib.parse import urlparse
from urllib.request import url2pathname

from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage.uri import StorageSpec, check_reachable, explained, open_uri, scheme_of

_EDGE_BYTES = 64 * 1024
_DIGEST_BYTES = 16
_NUM_THREADS = 8  # of waiting on a disk, not of computing
_PATHS_PER_TASK = 256  # a future a file would cost more memory than the manifest itself


def is_remote(uri: str) -> bool:
    """Whether `uri` names a store (`s3://`, `gs://`, `https://`) and not a local path."""
    return scheme_of(uri) not in (None, "file")


def without_file_scheme(uri: str) -> str:
    """The local path of a `file://` URI; anything else as it is."""
    return url2pathname(urlparse(uri).path) if scheme_of(uri) == "file" else uri


def open_remote(uri: str, storage: StorageSpec | None, *, what: str) -> tuple[fs.FileSystem, fs.FileInfo]:
    """The file system of a remote file or folder, and what it says of it.

    Raises:
        InputError: the store is unknown, does not answer or refuses; or there is nothing.
    """
    filesystem, path = open_uri(uri, storage, what=what)
    check_reachable(uri, storage or StorageSpec(), what=what)
    try:
        info = filesystem.get_file_info(path)
    except OSError as error:
        raise explained(error, what, uri) from error
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{what} {uri!r} does not exist; check the bucket and the path")
    return filesystem, info


def hash_listed(info: fs.FileInfo) -> str:
    """Hex blake2b of what a listing says of an object, its size and time of change: reading it would cost requests."""
    return blake2b(f"{info.size} {info.mtime_ns}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


def existing_path(path: str, *, what: str) -> str:
    """The absolute path of a local file or folder; `what` stands in the error.

    Raises:
        InputError: there is none.
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
