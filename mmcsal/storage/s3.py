"""S3 through pyarrow, with two defects of its client mended: retries that do not travel, reads that are not retried.

pyarrow forgets the retry strategy when it pickles: workers would give up after 3 attempts. And its client reads an
answer into a buffer as long as the range that it asked for: a 5xx whose text is longer than a small range is no 5xx to
it but a broken stream, and ends the read at once. Parquet files have many small ranges.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

Result = TypeVar("Result")
NOT_RETRIED = "Failed to flush response stream"
LONGEST_PAUSE_S = 5.0


class RetryingS3(fs.FileSystemHandler):
    """`fs.PyFileSystem(RetryingS3(...))` is an S3 file system whose reads are retried wherever they run.

    Args:
        max_attempts: of a request.
        options: of pyarrow.fs.S3FileSystem.
    """

    def __init__(self, max_attempts: int, options: dict[str, Any]) -> None:
        self._max_attempts, self._options = max_attempts, options
        # Not the "standard" strategy: it has a quota of retries, which an outage of seconds uses up, and after that no
        # request is tried again.
        strategy = fs.AwsDefaultS3RetryStrategy(max_attempts=max_attempts)
        self._s3 = fs.S3FileSystem(**options, retry_strategy=strategy)

    def __reduce__(self) -> tuple[Any, ...]:
        return RetryingS3, (self._max_attempts, self._options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryingS3) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(repr(self.__reduce__()[1]))

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_Reader(self._s3.open_input_file(path), self._max_attempts), mode="r")

    open_input_stream = open_input_file

    # As S3FileSystem does it ----------------------------------------------------------------------------------

    def get_type_name(self) -> str:
        return self._s3.type_name

    def normalize_path(self, path: str) -> str:
        return self._s3.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return self._s3.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return self._s3.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._s3.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._s3.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._s3.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        self._s3.delete_dir_contents("", accept_root_dir=True)

    def delete_file(self, path: str) -> None:
        self._s3.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self._s3.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._s3.copy_file(src, dest)

    def open_output_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        return self._s3.open_output_stream(path, metadata=metadata)

    def open_append_stream(self, path: str, metadata: dict[str, str] | None) -> pa.NativeFile:
        return self._s3.open_append_stream(path, metadata=metadata)


class _Reader:
    """A file of S3 as pyarrow.PythonFile wants one."""

    closed = False

    def __init__(self, file: pa.NativeFile, max_attempts: int) -> None:
        self._file, self._max_attempts = file, max_attempts
        self.seek, self.tell = file.seek, file.tell

    def read(self, num_bytes: int = -1) -> bytes:
        start = self._file.tell()

        def read() -> bytes:
            self._file.seek(start)
            return self._file.read(None if num_bytes < 0 else num_bytes)

        return _reread(read, self._max_attempts)

    def close(self) -> None:
        self._file.close()
        self.closed = True


def _reread(read: Callable[[], Result], max_attempts: int) -> Result:
    for attempt in range(max_attempts - 1):
        try:
            return read()
        except OSError as error:
            if NOT_RETRIED not in str(error):
                raise
        time.sleep(min(0.05 * 2**attempt, LONGEST_PAUSE_S))
    return read()
