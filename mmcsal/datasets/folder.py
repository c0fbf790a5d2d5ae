"""A folder of video files, local or on an object store: every file with a video suffix below it is a sample."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
from pyarrow import fs
from pydantic import field_validator

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.spec import Spec
from mmcsal.contracts.table import conform
from mmcsal.datasets.manifest_file import MANIFEST_SUFFIXES
from mmcsal.datasets.synthetic.content import (
    existing_path,
    hash_contents,
    hash_listed,
    is_remote,
    open_remote,
    without_file_scheme,
)
from mmcsal.storage.uri import StorageSpec, explained, scheme_of

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg"),
    *(".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv"),
)


class FolderSpec(Spec):
    """All files below `path` whose suffix (in any case) is in `suffixes`; hidden files and folders are skipped.

    `sample_id` is the path relative to `path`, with forward slashes. With `label_from="parent_folder"`, the label is
    the name of the folder that a file lies in; a file directly in `path` has none.
    """

    kind: Literal["folder"] = "folder"
    path: str
    suffixes: tuple[str, ...] = VIDEO_SUFFIXES
    label_from: Literal["none", "parent_folder"] = "none"

    @field_validator("suffixes")
    @classmethod
    def _normalise_suffixes(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        if not suffixes or not all(s.strip(".") for s in suffixes):
            raise ValueError(f"suffixes is {suffixes}; expected at least one, such as '.mp4'")
        return tuple("." + s.lower().lstrip(".") for s in suffixes)


def read_folder(spec: FolderSpec, storage: StorageSpec | None = None) -> pa.Table:
    """The MANIFEST table of a folder, sorted by sample_id.

    Raises:
        InputError: `path` is missing, is not a folder, may not be read, or holds no file with a video suffix; or a
            file's name is not UTF-8, which no table can hold.
    """
    seen_suffixes: Counter[str] = Counter()
    if is_remote(spec.path):
        root, infos = spec.path.rstrip("/"), _listed(spec.path, storage, seen_suffixes)
        hash_of = {i: hash_listed(info) for i, info in infos.items() if _suffix_of(i) in spec.suffixes}
        ids = sorted(hash_of)
        uris = [f"{scheme_of(root)}://{infos[i].path}" for i in ids]
        hashes: list[str | None] = [hash_of[i] for i in ids]
    else:
        root = _checked_root(without_file_scheme(spec.path))
        ids = sorted(i for i in _walk(root, seen_suffixes) if _suffix_of(i) in spec.suffixes)
        _check_names(root, ids)
        uris = [os.path.join(root, i) for i in ids]
        hashes = hash_contents(uris)
    if not ids:
        raise InputError(_nothing_found(root, seen_suffixes, spec.suffixes))
    columns = {"sample_id": ids, "uri": uris, "source": [spec.kind] * len(ids), "content_hash": hashes}
    if spec.label_from == "parent_folder":
        columns["label"] = [_parent_name(i) for i in ids]
    return conform(pa.table(columns), MANIFEST, name=f"manifest of {root}")


def _listed(uri: str, storage: StorageSpec | None, seen_suffixes: Counter[str]) -> dict[str, fs.FileInfo]:
    """Every object below a URI by its path relative to it; counts the suffixes."""
    filesystem, root = open_remote(uri, storage, what="corpus folder")
    if root.is_file:
        raise InputError(_not_a_folder(uri))
    try:
        infos = filesystem.get_file_info(fs.FileSelector(root.path, recursive=True))
    except OSError as error:
        raise explained(error, "corpus folder", uri) from error
    found = {info.path[len(root.path) + 1 :]: info for info in infos if info.is_file}
    visible = {i: info for i, info in found.items() if not any(name.startswith(".") for name in i.split("/"))}
    seen_suffixes.update(_suffix_of(i) for i in visible)
    return visible


def _checked_root(path: str) -> str:
    root = existing_path(path, what="corpus folder")
    if not os.path.isdir(root):
        raise InputError(_not_a_folder(root))
    return root


def _not_a_folder(path: str) -> str:
    is_manifest = _suffix_of(path) in MANIFEST_SUFFIXES
    hint = "use kind: manifest to read it as a list of files" if is_manifest else "give the folder that holds it"
    return f"corpus folder {path!r} is a file, expected a folder; {hint}"


def _walk(root: str, seen_suffixes: Counter[str]) -> Iterator[str]:
    """Yields every file's path relative to `root`, in no fixed order, and counts the suffixes.

    Symlinked folders are entered unless they lead back to a folder above them: that alone makes a loop, and the
    answer does not depend on the order in which folders are met.
    """
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(root),))]
    while pending:
        prefix, ancestors = pending.pop()
        for entry in _entries(os.path.join(root, prefix)):
            if entry.name.startswith("."):
                continue
            relative = prefix + entry.name
            if _is_folder(entry):
                identity = _identity(entry.path)
                if identity not in ancestors:
                    pending.append((relative + "/", (*ancestors, identity)))
            elif _is_sample_file(entry):
                seen_suffixes[_suffix_of(entry.name)] += 1
                yield relative


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(
            f"corpus folder: cannot list {folder!r} ({error.strerror}); make it readable or move it away"
        ) from error


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise InputError(
            f"corpus folder: cannot read {folder!r} ({error.strerror}); make it readable or move it away"
        ) from error
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself
        return False


def _is_sample_file(entry: os.DirEntry[str]) -> bool:
    """Regular files, and links that lead nowhere: those stay in the manifest, so that ingest rejects them by name."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return entry.is_symlink()


def _suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _parent_name(sample_id: str) -> str | None:
    return sample_id.rsplit("/", 2)[-2] if "/" in sample_id else None


def _nothing_found(root: str, seen_suffixes: Counter[str], suffixes: tuple[str, ...]) -> str:
    common = ", ".join(f"{n} {s or '(no suffix)'}" for s, n in seen_suffixes.most_common(5))
    found = f"{seen_suffixes.total()} other files ({common})" if seen_suffixes else "no files at all"
    return (
        f"corpus folder {root!r} holds no video: found {found}, expected files that end in {' '.join(suffixes)}; "
        "check the path, or set suffixes"
    )


def _check_names(root: str, ids: list[str]) -> None:
    bad = [i for i in [root, *ids] if not _is_utf8(i)]
    if bad:
        raise InputError(
            f"corpus folder {root!r}: {len(bad)} names are not UTF-8, first {bad[:3]!r}; "
            "rename them (for instance with convmv), tables hold UTF-8 only"
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
