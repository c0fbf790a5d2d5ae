"""The run directory: where one run keeps its tables, checkpoints and report; atomic writes, markers, resume.

    manifest/ clips/ rejects/ checkpoints/ embeddings/ candidates/ selection/ metrics/ report/
    config.yaml  status.json

Each stage owns one folder. Its parts are written one by one, each under a hidden temporary name and then
renamed, so a part that is there is whole. `_STARTED.json` says with which settings the stage began (parts of other
settings never mix), `_COMMITTED.json` that it is complete. Readers such as pyarrow skip names with a leading
underscore or dot, so every folder is a plain Parquet dataset.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from mmcsal.contracts.errors import InputError

STARTED, COMMITTED = "_STARTED.json", "_COMMITTED.json"
PART_NAME = "part-{:05d}.parquet"
# Frames and sound shrink by about a half at a level that costs a tenth of the decoding.
COMPRESSION, COMPRESSION_LEVEL = "zstd", 1


class RunDir:
    """One run directory on a local path or on an object store that pyarrow.fs knows. Safe to pickle."""

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        self.filesystem, self.root = open_uri(self.uri, what="run directory")

    def __reduce__(self) -> tuple[type["RunDir"], tuple[str]]:
        return RunDir, (self.uri,)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, *names: str) -> str:
        """A path inside the run directory, for use with `self.filesystem`."""
        return "/".join((self.root, *names))

    # Files -----------------------------------------------------------------------------------------------------

    def exists(self, *names: str) -> bool:
        return self.filesystem.get_file_info(self.path(*names)).type != fs.FileType.NotFound

    def read_bytes(self, *names: str) -> bytes:
        with self.filesystem.open_input_file(self.path(*names)) as stream:
            return stream.read()

    def write_bytes(self, data: bytes | pa.Buffer, *names: str) -> None:
        """Writes a file so that it is there whole or not at all."""
        target = self.path(*names)
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

    def _listed(self, *folder: str) -> list[fs.FileInfo]:
        return self.filesystem.get_file_info(fs.FileSelector(self.path(*folder), allow_not_found=True))

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

    def dataset(self, folder: str, schema: pa.Schema | None = None) -> ds.Dataset:
        """A folder's table, lazily; an empty one where `schema` is given and nothing was written."""
        paths = self.part_paths(folder)
        if not paths and schema is not None:
            return ds.dataset(schema.empty_table())
        return ds.dataset(paths, filesystem=self.filesystem, format="parquet", schema=schema)

    # Stages ----------------------------------------------------------------------------------------------------

    def begin(self, folder: str, settings: dict[str, Any]) -> None:
        self.write_json(settings, folder, STARTED)

    def started(self, folder: str) -> dict[str, Any] | None:
        """The settings with which the stage of this folder began, or None."""
        return self.read_json(folder, STARTED) if self.exists(folder, STARTED) else None

    def commit(self, folder: str, receipt: dict[str, Any]) -> None:
        """Marks the stage of this folder as complete; the last thing that a stage does."""
        self.write_json({**receipt, "committed_at": now()}, folder, COMMITTED)

    def committed(self, folder: str) -> dict[str, Any] | None:
        """What the stage of this folder said when it was completed, or None."""
        return self.read_json(folder, COMMITTED) if self.exists(folder, COMMITTED) else None

    def clear(self, folder: str) -> None:
        """Removes a folder; the marker first, so that a kill in between cannot leave a marker without its data."""
        if self.exists(folder, COMMITTED):
            self.delete_file(folder, COMMITTED)
        if self.exists(folder):
            self.filesystem.delete_dir(self.path(folder))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory against a second driver; the kernel lets go when this process ends, however it ends."""
        if not self.is_local:
            yield
            return
        Path(self.root).mkdir(parents=True, exist_ok=True)
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
        """Whether a driver is at work in the directory; on an object store nobody can tell, and this says yes."""
        if not self.is_local:
            return True
        try:
            with open(self.path(".lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False


def open_uri(uri: str, *, what: str) -> tuple[fs.FileSystem, str]:
    """The file system of a local path or a URI, and the path on it; `what` stands in the error.

    Raises: InputError: no file system is known for it.
    """
    try:
        return fs.FileSystem.from_uri(uri if "://" in uri else str(Path(uri).expanduser().absolute()))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{what} {uri!r} cannot be used: {error}; give a local path, s3:// or gs://") from error


def is_part(info: fs.FileInfo) -> bool:
    """Whether a file belongs to a table: Parquet, and neither hidden nor a marker."""
    return info.is_file and info.extension == "parquet" and not info.base_name.startswith((".", "_"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
