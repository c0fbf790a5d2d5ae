"""The run directory: where one run keeps its tables, checkpoints and report; atomic writes, attempts, markers, resume.

    manifest/ clips/ rejects/ checkpoints/ embeddings/ candidates/ selection/ metrics/ report/
    config.yaml  status.json

Each stage owns a folder or more. What it writes lies below an attempt, `clips/attempt-.../part-00000.parquet`:
`_STARTED.json` of the folder names the newest attempt and its settings, `_COMMITTED.json` inside the attempt says that
it is complete. Until then readers find the attempt that was complete before: a stage that fails takes nothing away. A
writer learns its attempt when the stage begins. So one of an older attempt, cut off and still alive, writes where
nobody looks any more, on stores without rename and without locks as well. A resumed stage goes on with its attempt:
whoever writes a part of the same settings writes the same part.

Files are written under a hidden temporary name and then renamed, or appear on an object store when their upload is
complete, so a part that is there is whole. Readers such as pyarrow skip names with a leading underscore or dot, so
every folder is a plain Parquet dataset.

Whoever made the directory is not trusted: what is written and read lies inside it, and no link is followed.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage import markers
from mmcsal.storage.lease import Lease
from mmcsal.storage.lock import file_lock, is_locked
from mmcsal.storage.markers import COMMITTED, STARTED, Started
from mmcsal.storage.tables import Rows, parquet_bytes, read_table, rows_of
from mmcsal.storage.uri import StorageSpec, check_reachable, open_uri

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
        """A path for `self.filesystem`: of a file at the top, or of something in a folder's current attempt.

        Raises:
            InputError: it leads out of the run directory.
        """
        return self._inside("/".join((self.place(folder), *names)) if names else f"{self.root}/{folder}")

    def place(self, folder: str) -> str:
        """Where the files of a folder's current attempt lie; raises as `path` does."""
        attempt = self._attempt(folder)
        return self._inside(f"{self.root}/{folder}/{attempt}" if attempt else f"{self.root}/{folder}")

    def check_inside(self, below: str) -> None:
        """Asks whether a path below the root is one, whatever lies there; raises as `path` does."""
        self._inside(f"{self.root}/{below}")

    def _inside(self, path: str) -> str:
        if self.is_local and os.path.realpath(path) != os.path.realpath(self.root) + path[len(self.root) :]:
            raise InputError(
                f"run directory {self.uri}: {path} is, or lies behind, a link, and links in a run directory are not "
                "followed; put the files themselves there, or give another --run-dir"
            )
        return path

    # Files -----------------------------------------------------------------------------------------------------

    def exists(self, *names: str) -> bool:
        return self.filesystem.get_file_info(self.path(*names)).type != fs.FileType.NotFound

    def read_bytes(self, *names: str) -> bytes:
        """A file; nothing that waits for a writer, such as a pipe.

        Raises:
            InputError: it is no file.
        """
        return self._read(self.path(*names))

    def _read(self, path: str) -> bytes:
        if self.is_local and os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"run directory {self.uri}: {path} is no regular file; delete it")
        with self.filesystem.open_input_file(path) as stream:
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
        """A JSON object.

        Raises:
            InputError: the file holds none.
        """
        return markers.parsed(self.read_bytes(*names), self.path(*names))

    def write_json(self, content: dict[str, Any], *names: str) -> None:
        self.write_bytes(json.dumps(content, indent=2).encode() + b"\n", *names)

    # Tables ----------------------------------------------------------------------------------------------------

    def write_part(self, folder: str, name: str, table: pa.Table, **parquet_options: Any) -> None:
        """Commits one Parquet file of a table; writing it again replaces it."""
        options = {"compression": COMPRESSION, "compression_level": COMPRESSION_LEVEL, **parquet_options}
        self.write_bytes(parquet_bytes(table, **options), folder, name)

    def read_part(self, folder: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """One Parquet file of a table; raises as `storage.tables.read_table` does."""
        path = self.path(folder, name)
        with self.filesystem.open_input_file(path) as stream:
            return read_table(stream, columns=columns, where=path)

    def parts(self, folder: str) -> list[str]:
        """Names of the committed Parquet files in a folder, sorted."""
        return sorted(info.base_name for info in self._listed(folder) if is_part(info))

    def part_paths(self, folder: str) -> list[str]:
        return [self.path(folder, name) for name in self.parts(folder)]

    def dataset(self, folder: str, schema: pa.Schema | None = None) -> Rows:
        """A folder's table, lazily; an empty one where `schema` is given and nothing was written."""
        return rows_of(self.part_paths(folder), self.filesystem, schema=schema, where=self.path(folder))

    # Stages ----------------------------------------------------------------------------------------------------

    def begin(
        self, folder: str, settings: dict[str, Any], side_folders: Sequence[str] = (), *, resume: bool = False
    ) -> None:
        """Starts a stage: the folders get a new attempt, or with `resume` go on with the newest one of `folder`.

        The owner's folder first: killed in between, the next resume gives its side folders the same attempt. What was
        committed before stays, and is what others read, until this attempt is committed.
        """
        newest = self._started(folder)
        resumed = newest.attempt if resume and newest is not None else None
        if resume and resumed is None and newest is not None:  # begun before there were attempts
            for name in (folder, *side_folders):
                self._attempts[name] = None
            return
        before = self._committed_attempt(newest) if newest is not None else None
        attempt = resumed or markers.new_attempt()
        if resumed is not None:
            self._refuse_links(folder, *side_folders)
        for name in (folder, *side_folders):
            started = Started(attempt, settings, owner=folder, before=None if before == attempt else before)
            self._attempts[name] = attempt
            self._write_whole(started.to_json(), self._inside(f"{self.root}/{name}/{STARTED}"))
            self._sweep(name, keep=(attempt, started.before))

    def begin_in_place(self, folder: str, settings: dict[str, Any]) -> None:
        """Starts a stage whose files keep their paths from attempt to attempt: nobody but the driver writes them.

        The files of the attempt before stay until they are replaced, one by one.
        """
        self._refuse_links(folder)
        if self.exists(folder, COMMITTED):
            self.delete_file(folder, COMMITTED)
        self.write_json({"settings": settings}, folder, STARTED)

    def pin(self, *folders: str) -> None:
        """Fixes the attempts of folders as they are now: their readers need not look them up for each file."""
        for folder in folders:
            self._attempts[folder] = self._attempt(folder)

    def started(self, folder: str) -> dict[str, Any] | None:
        """The settings with which the stage of this folder began last, or None."""
        started = self._started(folder)
        return None if started is None else started.settings

    def is_complete(self, folder: str) -> bool:
        """Whether the attempt that the stage of this folder began last is committed."""
        started = self._started(folder)
        return (
            started is not None
            and self._committed_attempt(started) == started.attempt
            and self.exists(folder, COMMITTED)
        )

    def commit(self, folder: str, receipt: dict[str, Any]) -> None:
        """Marks the stage of this folder as complete; the last thing that a stage does."""
        attempt = self._attempts.get(folder)
        folders = [n for n, a in self._attempts.items() if attempt is not None and a == attempt] or [folder]
        contents = {name: markers.content_of(self._listed(name)) for name in folders}
        receipt = {**receipt, "contents": contents, "committed_at": markers.now()}
        self.write_json(receipt, folder, COMMITTED)
        for name in folders if attempt is not None else ():
            self._sweep(name, keep=(attempt,))

    def committed(self, folder: str) -> dict[str, Any] | None:
        """What the stage of this folder said when it was completed, or None.

        Raises:
            InputError: what is there was not written by a stage.
        """
        if not self.exists(folder, COMMITTED):
            return None
        return markers.checked_receipt(self.read_json(folder, COMMITTED), self.path(folder, COMMITTED))

    def changed_content(self, folder: str, *, may_grow: bool = False) -> str | None:
        """How what lies in a committed folder and its side folders differs from the receipt; None = not at all.

        Args:
            may_grow: files that came later are none of its business.
        """
        receipt = self.committed(folder) or {}
        for name, written in receipt.get("contents", {}).items():
            found = markers.content_of(self._listed(name))
            if found != written and not (may_grow and found["num_files"] > written.get("num_files", 0)):
                return (
                    f"{self.path(name)} holds {markers.described(found)}, and {markers.described(written)} were written"
                )
        return None

    def clear(self, folder: str) -> None:
        """Removes a folder; the marker first, so that a kill in between cannot leave a marker without its data."""
        if self.exists(folder, COMMITTED):
            self.delete_file(folder, COMMITTED)
        self._attempts.pop(folder, None)
        if self.exists(folder):
            self.filesystem.delete_dir(self.path(folder))

    def _started(self, folder: str) -> Started | None:
        path = self._inside(f"{self.root}/{folder}/{STARTED}")
        try:
            return Started.from_json(self._read(path), path)
        except FileNotFoundError:
            return None

    def _attempt(self, folder: str) -> str | None:
        """The attempt of a folder that counts; None where its files lie in the folder itself."""
        if folder in self._attempts:
            return self._attempts[folder]
        started = self._started(folder)
        if started is None or started.before is None:
            return None if started is None else started.attempt
        return self._committed_attempt(started)

    def _committed_attempt(self, started: Started) -> str | None:
        """The newest attempt that is committed, of those that `_STARTED.json` names."""
        if started.attempt is None:
            return None
        marker = self._inside(f"{self.root}/{started.owner}/{started.attempt}/{COMMITTED}")
        is_there = self.filesystem.get_file_info(marker).type != fs.FileType.NotFound
        return started.attempt if is_there else started.before

    def _sweep(self, folder: str, keep: Sequence[str | None]) -> None:
        """Removes what other attempts left; nothing if a newer one has begun, since then it is for that one to do.

        Listed first: what is listed before a look that finds our attempt the newest is of no newer one.
        """
        infos = self.filesystem.get_file_info(fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True))
        newest = self._started(folder)
        if newest is None or newest.attempt != self._attempts[folder]:
            return
        for info in infos:
            if info.base_name in {STARTED, *keep}:
                continue
            if info.type == fs.FileType.Directory:  # a link to one is removed, and what it leads to is left
                self.filesystem.delete_dir(info.path)
            else:
                self.filesystem.delete_file(info.path)

    def _refuse_links(self, *folders: str) -> None:
        """What others write into an attempt by themselves, such as checkpoints, must not follow a link either."""
        for folder in folders if self.is_local else ():
            for parent, names, files in os.walk(f"{self.root}/{folder}"):
                for name in (*names, *files):
                    self._inside(f"{parent}/{name}")

    def check_reachable(self) -> None:
        """Asks the object store once, so that what is down is told at once.

        Raises:
            InputError: the object store does not answer, or refuses; within seconds. Or it is a file here.
        """
        if self.is_local and os.path.exists(self.root) and not os.path.isdir(self.root):
            raise InputError(f"run directory {self.uri} is no folder; give another --run-dir")
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
            with file_lock(f"{self.root}/.lock", self.uri):
                yield lambda: None
            return
        self.check_reachable()
        lease = Lease(self, self.storage.lease_s)
        with lease.held():
            yield lease.check

    def is_held(self) -> bool:
        """Whether a driver is at work in the directory; on an object store, whether one was heard of lately."""
        if self.is_local:
            return is_locked(f"{self.root}/.lock", self.uri)
        info = self.filesystem.get_file_info(self.path(Lease.FILE))
        return info.is_file and time.time() - info.mtime.timestamp() < 2 * self.storage.lease_s


def is_part(info: fs.FileInfo) -> bool:
    """Whether a file belongs to a table: Parquet, and neither hidden nor a marker."""
    return info.is_file and info.extension == "parquet" and not info.base_name.startswith((".", "_"))
