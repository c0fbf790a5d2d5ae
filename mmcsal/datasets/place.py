"""Where media lie: paths and URIs as the manifest writes them; the hashes of what they hold are `storage.content`'s."""

import os
from urllib.parse import urlparse
from urllib.request import url2pathname

from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage.content import is_regular
from mmcsal.storage.uri import StorageSpec, check_reachable, explained, open_uri, scheme_of


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


def existing_path(path: str, *, what: str) -> str:
    """The absolute path of a local file or folder; `what` stands in the error.

    Raises:
        InputError: there is none, or it is neither: a pipe could be waited on for ever.
    """
    absolute = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(absolute):
        raise InputError(
            f"{what} {absolute!r} does not exist; check the path (a relative one starts at {os.getcwd()!r})"
        )
    if not (os.path.isdir(absolute) or is_regular(absolute)):
        raise InputError(f"{what} {absolute!r} is a pipe, a device or a socket; expected a file or a folder")
    return absolute
