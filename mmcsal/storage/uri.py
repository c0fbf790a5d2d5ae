"""Where files lie: local paths, `s3://` and `gs://` through pyarrow.fs, with retries; and what their errors mean."""

import os
import re
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs
from pydantic import Field

from mmcsal.contracts.errors import InputError, on_one_line
from mmcsal.contracts.spec import Spec
from mmcsal.redaction import has_secret
from mmcsal.storage.s3 import RetryingS3

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
FIRST_ATTEMPTS = 4
SCHEMES = ("s3", "gs", "file")
NO_SECRETS = (
    "carries a user, a password, a key or a signature, which would be saved with the run; leave it out, and give "
    "credentials by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the machine's role"
)
# What a service says, and what it means to the reader; the first that is found counts.
_MEANINGS = (
    (r"NO_SUCH_BUCKET|Bucket '[^']*' not found", "there is no such bucket; create it, or mend its name"),
    (
        r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE|EXPIRED_TOKEN",
        "the service does not know these credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every node",
    ),
    (
        r"ACCESS_DENIED|HTTP status 40[13]|PERMISSION_DENIED|[Ff]orbidden",
        "access is denied; give the credentials of every node the right to list, read, write and delete there",
    ),
    (
        r"NETWORK_CONNECTION|[Cc]ouldn't connect|[Cc]onnection refused|[Tt]imeout|[Cc]ould not resolve|curlCode",
        "the service does not answer; check storage.endpoint_url and the network",
    ),
    (r"No space left|errno 28|Errno 28", "the disk is full; free some space"),
)


class StorageSpec(Spec):
    """How object stores are reached. Credentials are not here: they come from the environment or the machine's role."""

    endpoint_url: str | None = None  # of an S3 service other than Amazon's; null = AWS_ENDPOINT_URL, else Amazon's
    region: str | None = None  # null = AWS_REGION, AWS_DEFAULT_REGION, or the bucket's own
    max_attempts: int = Field(default=10, ge=1)  # of a request that fails with 5xx or a broken connection
    connect_timeout_s: float = Field(default=5.0, gt=0)
    request_timeout_s: float = Field(default=30.0, gt=0)
    # A driver that has not been heard of for so long is taken for dead, and another may use its run directory.
    lease_s: float = Field(default=60.0, gt=0)


def scheme_of(uri: str) -> str | None:
    """`s3` of `s3://bucket/key`; None of a local path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def open_uri(uri: str, storage: StorageSpec | None = None, *, what: str) -> tuple[fs.FileSystem, str]:
    """The file system of a local path or a URI, and the path on it; `what` stands in the error.

    Raises:
        InputError: no file system is known for it, or its bucket cannot be found.
    """
    scheme, storage = scheme_of(uri), storage or StorageSpec()
    if has_secret(uri):
        raise InputError(f"{what} {uri!r} {NO_SECRETS}")
    if scheme is None:
        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    if scheme not in SCHEMES:
        raise InputError(
            f"{what} {uri!r} cannot be used: unknown scheme {scheme}://; give a local path, s3:// or gs://"
        )
    parts = urlsplit(uri, allow_fragments=False)
    if parts.query and scheme != "file":
        raise InputError(f"{what} {uri!r}: options behind a ? are not read; set storage.endpoint_url, storage.region")
    path = uri[len(scheme) + 3 :].rstrip("/")
    try:
        if scheme == "file":
            return fs.FileSystem.from_uri(uri)
        if not parts.netloc:
            raise InputError(f"{what} {uri!r} names no bucket; expected {scheme}://bucket/folder")
        if scheme == "s3":
            return _s3(storage.model_dump_json(), _region(parts.netloc, storage)), path
        return _gcs(storage.max_attempts * storage.request_timeout_s), path
    except (pa.ArrowException, OSError, ValueError) as error:
        raise explained(error, what, uri) from error


def open_file(uri: str, storage: StorageSpec | None = None, *, what: str) -> pa.NativeFile:
    """A file that somebody has named; nothing that waits for a writer, such as a pipe.

    Raises:
        InputError: it is none.
        OSError: it cannot be opened.
    """
    filesystem, place = open_uri(uri, storage, what=what)
    if isinstance(filesystem, fs.LocalFileSystem) and os.path.exists(place) and not os.path.isfile(place):
        raise InputError(f"{what} {uri!r} is no regular file; expected a file, no folder, pipe or device")
    return filesystem.open_input_file(place)


def check_reachable(uri: str, storage: StorageSpec, *, what: str) -> None:
    """Asks the service once, with few attempts: what is misspelt or down is found in seconds, not after all retries.

    Raises:
        InputError: it does not answer, or refuses.
    """
    filesystem, path = open_uri(uri, storage.model_copy(update={"max_attempts": FIRST_ATTEMPTS}), what=what)
    try:
        is_there = filesystem.get_file_info(path).type != fs.FileType.NotFound
        # A folder in no bucket is not found either, as one that is still to be made.
        has_bucket = is_there or filesystem.get_file_info(path.split("/")[0]).type != fs.FileType.NotFound
    except OSError as error:
        raise explained(error, what, uri) from error
    if not has_bucket:
        raise InputError(f"{what} {uri!r} cannot be used: there is no such bucket; create it, or mend its name")


def is_of_service(error: BaseException) -> bool:
    """Whether an object store failed to answer, which says nothing of the file that was asked for."""
    return isinstance(error, OSError) and re.search(r"AWS Error|google::cloud", str(error)) is not None


def explained(error: BaseException, what: str, uri: str) -> InputError:
    """An error of a file system as one line: which place, what the service said, what to do."""
    said = on_one_line(error)
    meaning = next((text for pattern, text in _MEANINGS if re.search(pattern, said)), "check the path and the service")
    return InputError(f"{what} {uri!r} cannot be used: {meaning} ({said})")


def _region(bucket: str, storage: StorageSpec) -> str | None:
    known = storage.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    has_own_endpoint = storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    return known or (None if has_own_endpoint else _resolved_region(bucket))


@lru_cache
def _resolved_region(bucket: str) -> str:
    return fs.resolve_s3_region(bucket)


@lru_cache  # a client keeps its connections: one for each process
def _s3(spec_json: str, region: str | None) -> fs.PyFileSystem:
    spec = StorageSpec.model_validate_json(spec_json)
    options = {
        "endpoint_override": spec.endpoint_url,
        "region": region,
        "connect_timeout": spec.connect_timeout_s,
        "request_timeout": spec.request_timeout_s,
    }
    return fs.PyFileSystem(RetryingS3(spec.max_attempts, options))


@lru_cache
def _gcs(retry_s: float) -> fs.GcsFileSystem:
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=retry_s))
