"""Brings media from object stores to the local disk ahead of the decoder, which reads local files only.

A fetched file has no name: the decoder reads it through this process's descriptor (Linux), and the kernel frees it
however this process ends.
"""

import os
import re
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from pyarrow import fs

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source
from mmcsal.media.probe import MediaError
from mmcsal.storage.content import combine_hashes, hash_listed
from mmcsal.storage.uri import StorageSpec, open_uri, scheme_of

Decode = Callable[[Iterable[Source | MediaError]], Iterator[Clip | MediaError]]

# Of waiting on the network. Files on the disk at a time: those in work, and some for which the decoder need not wait.
NUM_THREADS = 4
NUM_FILES_AHEAD = 8
PIECE_BYTES = 8 << 20  # one request each; what a thread holds in memory
DENIED = re.compile(r"ACCESS_DENIED|PERMISSION_DENIED|HTTP status 40[13]")


def decode_fetched(sources: Sequence[Source], decode: Decode, storage: StorageSpec) -> Iterator[Clip | MediaError]:
    """One result for each source, in order: local files go to `decode` as they are, others are fetched for it.

    An object that does not exist or may not be read is a MediaError, as a local file would be.

    Raises:
        OSError: the service does not answer, or the local disk is full. No sample is to blame for that.
    """
    if not any(remote_uris(source) for source in sources):
        yield from decode(sources)
        return
    with _Fetched(sources, storage) as fetched:
        for source, result in zip(sources, decode(map(fetched.local, sources)), strict=True):
            yield fetched.with_uris(source, result) if isinstance(result, MediaError) else result
            fetched.release(source)


def remote_uris(source: Source) -> list[str]:
    """Those of the one or two files of a sample that are not on a local path."""
    return [uri for uri in (source.uri, source.audio_uri) if uri is not None and scheme_of(uri)]


class _Fetched:
    """Local copies of the objects of one sequence of sources: each fetched once, closed after its last use."""

    def __init__(self, sources: Sequence[Source], storage: StorageSpec) -> None:
        self._storage = storage
        self._num_uses = Counter(uri for source in sources for uri in remote_uris(source))
        self._to_fetch = deque(self._num_uses)  # in the order of their first use
        self._is_hashed = any(source.content_hash is not None for source in sources)
        self._copies: dict[str, Future[_Copy]] = {}
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="fetch")

    def __enter__(self) -> "_Fetched":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def local(self, source: Source) -> Source | MediaError:
        """The source with local paths; waits until its files are there.

        Raises:
            OSError: see `decode_fetched`.
        """
        uris = remote_uris(source)
        self._start(uris)
        try:
            copies = {uri: self._copies[uri].result() for uri in uris}
        except MediaError as error:
            return error
        paths = {uri: copy.path for uri, copy in copies.items()}
        audio_uri = source.audio_uri and paths.get(source.audio_uri, source.audio_uri)
        if not uris:
            return source
        if source.content_hash is not None and _hash(source, copies) != source.content_hash:
            return MediaError(Reason.CHANGED, f"{source.uri} is not what was scanned; scan the corpus again")
        return replace(source, uri=paths.get(source.uri, source.uri), audio_uri=audio_uri, content_hash=None)

    def release(self, source: Source) -> None:
        """Closes what no later source needs."""
        for uri in remote_uris(source):
            self._num_uses[uri] -= 1
            if not self._num_uses[uri]:
                with suppress(MediaError):
                    self._copies.pop(uri).result().file.close()

    def with_uris(self, source: Source, error: MediaError) -> MediaError:
        """A decoder's error without the names of local copies, which mean nothing to the reader."""
        detail = error.detail
        for uri in remote_uris(source):
            with suppress(MediaError):
                detail = re.sub(rf"{self._copies[uri].result().path}(?!\d)", lambda _, uri=uri: uri, detail)
        return MediaError(error.reason, detail)

    def _start(self, wanted: list[str]) -> None:
        """Starts to fetch what is wanted now, and more as far as the number of files allows."""
        while self._to_fetch and (
            len(self._copies) < NUM_FILES_AHEAD or any(uri not in self._copies for uri in wanted)
        ):
            uri = self._to_fetch.popleft()
            self._copies[uri] = self._pool.submit(_fetch, uri, self._storage, self._is_hashed)


@dataclass(frozen=True)
class _Copy:
    """An object that lies here, and the hash of what its store says of it."""

    file: BinaryIO
    hash: str | None

    @property
    def path(self) -> str:
        """Names a file of this process, which is handed over to the decoder process under this name."""
        return f"/proc/{os.getpid()}/fd/{self.file.fileno()}"


def _hash(source: Source, copies: Mapping[str, _Copy]) -> str | None:
    """As the scan made it: of what a listing says, for samples all of whose files are on a store."""
    uris = [uri for uri in (source.uri, source.audio_uri) if uri is not None]
    return combine_hashes([copies[uri].hash if uri in copies else None for uri in uris])


def _fetch(uri: str, storage: StorageSpec, is_hashed: bool) -> _Copy:
    filesystem, path = open_uri(uri, storage, what="media")
    try:
        with filesystem.open_input_file(path) as remote:
            copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed after its last use)
            shutil.copyfileobj(remote, copy, PIECE_BYTES)
            copy.flush()
            return _Copy(copy, hash_listed(filesystem.get_file_info(path)) if is_hashed else None)
    except FileNotFoundError as error:
        raise MediaError(Reason.MISSING_FILE, f"{uri}: there is no such object") from error
    except OSError as error:
        if _is_denied(error, filesystem, path):
            raise MediaError(Reason.MISSING_FILE, f"{uri}: it may not be read") from error
        raise


def _is_denied(error: OSError, filesystem: fs.FileSystem, path: str) -> bool:
    """Whether this object may not be read, rather than the service knowing us no longer: that refuses all alike.

    The answer to a HEAD has no room to say which; that to a listing has.
    """
    if not DENIED.search(str(error)):
        return False
    try:
        filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as listing_error:
        return "ACCESS_DENIED" in str(listing_error)
    return True
