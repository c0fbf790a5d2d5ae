"""The run directory: where one run keeps its tables, checkpoints and report; atomic writes, attempts, markers, resume.

    manifest/ clips/ rejects/ checkpoints/ embeddings/ candidates/ selection/ metrics/ report/
    config.yaml  status.json

Each stage owns a folder or more. What it writes lies below an attempt, `clips/attempt-.../part-00000.parquet`:
`_STARTED.json` of the folder names the attempt that counts and its settings, `_COMMITTED.json` inside the attempt says
that it is complete. A writer learns its attempt when the stage begins. So one of an older attempt, cut off and still
alive, writes where nobody looks any more, on stores without rename and without locks as well. A resumed stage goes on
with its attempt: whoever writes a part of the same settings writes the same part.

Files are written under a hidden temporary name and then renamed, or appear on an object store when their upload is
complete, so a part that is there is whole. Readers such as pyarrow skip names with a leading underscore or dot, so
every folder is a plain Parquet dataset.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage.lease import Lease
from mmcsal.storage.uri import StorageSpec, check_reachable, explained, open_uri

if TYPE_CHECKING:
    import pyarrow.dataset as ds

STARTED, COMMITTED = "_STARTED.json", "_COMMITTED.json"
PART_NAME = "part-{:05d}.parquet"
# Frames and sound shrink by about a half at a level that costs a tenth of the decoding.
COMPRESSION, COMPRESSION_LEVEL = "zstd", 1


class RunDir:
    """One run directory on a local path or on an object store that pyarrow.fs knows. Safe to pickle.

    Args:
        uri: a local path, `s3://bucket/folder` or `gs://bucket/folder`.
        storage: how object stores are reached.
        attempts: of folders whose attempt is fixed; that of others is looked up.
    """

    def __init__(
        self, uri: str, storage: StorageSpec | None = None, attempts: dict[str, str | None] | None = None
    ) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        self.storage = storage or StorageSpec()
        self.filesystem, self.root = open_uri(self.uri, self.storage, what="run directory")
        self._attempts = dict(attempts or {})

    def __reduce__(self) -> tuple[type["RunDir"], tuple[Any, ...]]:
        return RunDir, (self.uri, self.storage, self._attempts)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, folder: str, *names: str) -> str:
        """A path for `self.filesystem`: of a file at the top, or of something in a folder's current attempt."""
        return "/".join((self.place(folder), *names)) if names else f"{self.root}/{folder}"

    def place(self, folder: str) -> str:
        """Where the files of a folder's current attempt lie."""
        attempt = self._attempt(folder)
        return f"{self.root}/{folder}/{attempt}" if attempt else f"{self.root}/{folder}"

    # Files -----------------------------------------------------------------------------------------------------

    def exists(self, *names: str) -> bool:
        return self.filesystem.get_file_info(self.path(*names)).type != fs.FileType.NotFound

    def read_bytes(self, *names: str) -> bytes:
        with self.filesystem.open_input_file(self.path(*names)) as stream:
            return stream.read()

    def write_bytes(self, data: bytes | pa.Buffer, *names: str) -> None:
        """Writes a file so that it is there whole or not at all."""
        self._write_whole(data, self.path(*names))

    def _write_whole(self, data: bytes | pa.Buffer, target: str) -> None:
        folder, name = target.rsplit("/", 1)
        if not self.is_local:  # an object appears when its upload completes
            self._write(data, target)
            return
        self.filesystem.create_dir(folder)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            self._write(data, temporary)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _write(self, data: bytes | pa.Buffer, path: str) -> None:
        stream = self.filesystem.open_output_stream(path)
        stream.write(data)
        stream.close()

    def names(self, *folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no folder."""
        return sorted(info.base_name for info in self._listed(*folder) if info.is_file)

    def folders(self, *folder: str) -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no folder."""
        return sorted(info.base_name for info in self._listed(*folder) if not info.is_file)

    def _listed(self, folder: str, *names: str) -> list[fs.FileInfo]:
        below = self.path(folder, *names) if names else self.place(folder)
        try:
            return self.filesystem.get_file_info(fs.FileSelector(below, allow_not_found=True))
        except FileNotFoundError:  # made between pyarrow's two looks: when listed it was not there, then it was
            return []

    def delete_file(self, *names: str) -> None:
        self.filesystem.delete_file(self.path(*names))

    def read_json(self, *names: str) -> dict[str, Any]:
        return json.loads(self.read_bytes(*names))

    def write_json(self, content: dict[str, Any], *names: str) -> None:
        self.write_bytes(json.dumps(content, indent=2).encode() + b"\n", *names)

    # Tables ----------------------------------------------------------------------------------------------------

    def write_part(self, folder: str, name: str, table: pa.Table, **parquet_options: Any) -> None:
        """Commits one Parquet file of a table; writing it again replaces it."""
        sink = pa.BufferOutputStream()
        options = {"compression": COMPRESSION, "compression_level": COMPRESSION_LEVEL, **parquet_options}
        pq.write_table(table, sink, **options)
        self.write_bytes(sink.getvalue(), folder, name)

    def read_part(self, folder: str, name: str, columns: list[str] | None = None) -> pa.Table:
        with self.filesystem.open_input_file(self.path(folder, name)) as stream:
            return pq.read_table(stream, columns=columns)

    def parts(self, folder: str) -> list[str]:
        """Names of the committed Parquet files in a folder, sorted."""
        return sorted(info.base_name for info in self._listed(folder) if is_part(info))

    def part_paths(self, folder: str) -> list[str]:
        return [self.path(folder, name) for name in self.parts(folder)]

    def dataset(self, folder: str, schema: pa.Schema | None = None) -> "ds.Dataset":
        """A folder's table, lazily; an empty one where `schema` is given and nothing was written."""
        import pyarrow.dataset as ds  # imports pandas where there is one: a second that `mmcsal status` can do without

        paths = self.part_paths(folder)
        if not paths and schema is not None:
            return ds.dataset(schema.empty_table())
        return ds.dataset(paths, filesystem=self.filesystem, format="parquet", schema=schema)

    # Stages ----------------------------------------------------------------------------------------------------

    def begin(
        self, folder: str, settings: dict[str, Any], side_folders: Sequence[str] = (), *, resume: bool = False
    ) -> None:
        """Starts a stage: the folders get a new attempt, or with `resume` go on with the one of `folder`.

        The owner's folder first: killed in between, the next resume gives its side folders the same attempt.
        """
        attempt = self._attempt(folder) if resume else _new_attempt()
        for name in (folder, *side_folders):
            self._attempts[name] = attempt
            if attempt is not None:  # None: begun before there were attempts
                content = json.dumps({"attempt": attempt, "settings": settings}, indent=2).encode()
                self._write_whole(content, f"{self.root}/{name}/{STARTED}")
                self._sweep(name)

    def begin_in_place(self, folder: str, settings: dict[str, Any]) -> None:
        """Starts a stage whose files keep their paths from attempt to attempt: nobody but the driver writes them."""
        self.clear(folder)
        self.write_json({"settings": settings}, folder, STARTED)

    def pin(self, *folders: str) -> None:
        """Fixes the attempts of folders as they are now: their readers need not look them up for each file."""
        for folder in folders:
            self._attempts[folder] = self._attempt(folder)

    def started(self, folder: str) -> dict[str, Any] | None:
        """The settings with which the stage of this folder began, or None."""
        content = self._started(folder)
        return None if content is None else content.get("settings", content)

    def commit(self, folder: str, receipt: dict[str, Any]) -> None:
        """Marks the stage of this folder as complete; the last thing that a stage does."""
        self.write_json({**receipt, "committed_at": now()}, folder, COMMITTED)
        attempt = self._attempts.get(folder)
        for name in [n for n, a in self._attempts.items() if attempt is not None and a == attempt]:
            self._sweep(name)

    def committed(self, folder: str) -> dict[str, Any] | None:
        """What the stage of this folder said when it was completed, or None."""
        return self.read_json(folder, COMMITTED) if self.exists(folder, COMMITTED) else None

    def clear(self, folder: str) -> None:
        """Removes a folder; the marker first, so that a kill in between cannot leave a marker without its data."""
        if self.exists(folder, COMMITTED):
            self.delete_file(folder, COMMITTED)
        self._attempts.pop(folder, None)
        if self.exists(folder):
            self.filesystem.delete_dir(self.path(folder))

    def _started(self, folder: str) -> dict[str, Any] | None:
        try:
            with self.filesystem.open_input_file(f"{self.root}/{folder}/{STARTED}") as stream:
                return json.loads(stream.read())
        except FileNotFoundError:
            return None

    def _attempt(self, folder: str) -> str | None:
        """The attempt of a folder that counts; None where its files lie in the folder itself."""
        if folder in self._attempts:
            return self._attempts[folder]
        return (self._started(folder) or {}).get("attempt")

    def _sweep(self, folder: str) -> None:
        """Removes what other attempts left; nothing if a newer one has begun, since then it is for that one to do.

        Listed first: what is listed before a look that finds our attempt the newest is of no newer one.
        """
        infos = self.filesystem.get_file_info(fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True))
        if (self._started(folder) or {}).get("attempt") != self._attempts[folder]:
            return
        for info in infos:
            if info.base_name in {STARTED, self._attempts[folder]}:
                continue
            if info.is_file:
                self.filesystem.delete_file(info.path)
            else:
                self.filesystem.delete_dir(info.path)

    def check_reachable(self) -> None:
        """Asks the object store once, so that what is down is told at once.

        Raises:
            InputError: the object store does not answer, or refuses; within seconds.
        """
        if not self.is_local:
            check_reachable(self.uri, self.storage, what="run directory")

    # One driver at a time --------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[Callable[[], None]]:
        """Holds the directory against a second driver, which ends however this process ends.

        Yields:
            a check to call before a commit: it raises LeaseLostError once another driver has taken over.

        Raises:
            InputError: another driver holds it, or the place cannot be used.
        """
        if self.is_local:
            with self._file_lock():
                yield lambda: None
            return
        self.check_reachable()
        lease = Lease(self, self.storage.lease_s)
        with lease.held():
            yield lease.check

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            Path(self.path(".lock")).touch()
        except OSError as error:
            raise explained(error, "run directory", self.uri) from error
        with open(self.path(".lock"), "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise InputError(
                    f"run directory {self.uri} is in use by process {lock.read().strip() or '?'}; "
                    "wait for it to end, or give another --run-dir"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_held(self) -> bool:
        """Whether a driver is at work in the directory; on an object store, whether one was heard of lately."""
        if not self.is_local:
            info = self.filesystem.get_file_info(self.path(Lease.FILE))
            return info.is_file and time.time() - info.mtime.timestamp() < 2 * self.storage.lease_s
        try:
            with open(self.path(".lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False


def _new_attempt() -> str:
    return f"attempt-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def is_part(info: fs.FileInfo) -> bool:
    """Whether a file belongs to a table: Parquet, and neither hidden nor a marker."""
    return info.is_file and info.extension == "parquet" and not info.base_name.startswith((".", "_"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
