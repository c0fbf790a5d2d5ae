"""A folder of video files, local or on an object store: every file with a video suffix below it is a sample."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pyarrow import fs
from pydantic import field_validator

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.reject import Reason
from mmcsal.contracts.spec import Spec
from mmcsal.contracts.table import conform
from mmcsal.datasets.manifest_file import MANIFEST_SUFFIXES
from mmcsal.datasets.place import existing_path, is_remote, open_remote, without_file_scheme
from mmcsal.datasets.scan import Scan, counted, grouped
from mmcsal.storage.content import hash_contents, hash_listed
from mmcsal.storage.uri import StorageSpec, explained, scheme_of

# Of the containers and raw streams that ffmpeg reads, those that hold video; names of cameras and recorders among them.
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg"),
    *(".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv"),
    *(".mts", ".m2ts", ".m2t", ".vob", ".mxf", ".ogg", ".ogm", ".asf", ".f4v", ".dv", ".divx", ".xvid", ".qt"),
    *(".mpe", ".mpv", ".m1v", ".m2v", ".mod", ".tod", ".3g2", ".mk3d", ".rm", ".rmvb", ".nut", ".gxf", ".wtv"),
)
HIDDEN, NO_FILES, UNREADABLE = "hidden", "pipes, sockets or devices", "folders that cannot be listed"


class FolderSpec(Spec):
    """All files below `path` whose suffix (in any case) is in `suffixes`; what is left out is counted by suffix.

    `sample_id` is the path relative to `path`, with forward slashes. Files and folders whose name begins with one dot
    are hidden, and left out. With `label_from="parent_folder"`, the label is the name of the folder that a file lies
    in; a file directly in `path` has none.
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


@dataclass(frozen=True, slots=True)
class Listed:
    """A file below the folder, or a folder below it that cannot be listed."""

    path: str  # relative to the folder, with forward slashes; bytes that are not UTF-8 are surrogates
    uri: str
    problem: tuple[Reason, str] | None = None  # for which it can be no sample
    listed_hash: str | None = None  # of an object store

    @property
    def group(self) -> str:
        """As what it is counted where it is no sample."""
        if any(map(_is_hidden, self.path.split("/"))):
            return HIDDEN
        if self.problem:
            return UNREADABLE if self.problem[0] is Reason.UNREADABLE_FOLDER else NO_FILES
        return _in_utf8(suffix_of(self.path)) or "without a suffix"


def read_folder(spec: FolderSpec, storage: StorageSpec | None = None, *, has_hashes: bool = True) -> Scan:
    """The MANIFEST of a folder, sorted by sample_id, and what was left out of it.

    A name that is not UTF-8, and a folder below that cannot be listed, are rows that ingest rejects.

    Args:
        spec: the folder.
        storage: how object stores are reached.
        has_hashes: whether files are opened for their content hashes, or only listed.

    Raises:
        InputError: `path` is missing, is not a folder, may not be listed, or holds no file with a video suffix.
    """
    if is_remote(spec.path):
        root = spec.path.rstrip("/")
        listing: Iterable[Listed] = objects_below(root, storage)
    else:
        root = _checked_root(without_file_scheme(spec.path))
        listing = files_below(root)
    found, left_out = _sorted_out(listing, spec.suffixes)
    if all(file.problem and file.problem[0] is Reason.UNREADABLE_FOLDER for file in found):
        raise InputError(_nothing_found(root, left_out, spec.suffixes))
    return Scan(_manifest(found, spec, root, has_hashes), left_out)


def _sorted_out(listing: Iterable[Listed], suffixes: tuple[str, ...]) -> tuple[list[Listed], dict[str, int]]:
    """The samples, in a fixed order, and what is none, counted."""
    found: list[Listed] = []
    left_out: Counter[str] = Counter()
    for file in listing:
        group = file.group
        is_sample = group not in (HIDDEN, UNREADABLE) and suffix_of(file.path) in suffixes
        if is_sample or group == UNREADABLE:
            found.append(file)
        if not is_sample:
            left_out[group] += 1
    return sorted(found, key=lambda file: os.fsencode(file.path)), grouped(left_out)


def _manifest(found: list[Listed], spec: FolderSpec, root: str, has_hashes: bool) -> pa.Table:
    ids = _unique_ids(found)
    problems = [file.problem or _problem_of_name(file.path) for file in found]
    whole = [file.uri for file, problem in zip(found, problems, strict=True) if problem is None]
    is_local = has_hashes and not is_remote(root)
    hash_of = dict(zip(whole, hash_contents(whole), strict=True)) if is_local else {}
    columns = {
        "sample_id": ids,
        "uri": [_in_utf8(file.uri) for file in found],
        "source": [spec.kind] * len(ids),
        "content_hash": pa.array([file.listed_hash or hash_of.get(file.uri) for file in found], pa.string()),
        "reject_reason": pa.array([problem and str(problem[0]) for problem in problems], pa.string()),
        "reject_detail": pa.array([problem and problem[1] for problem in problems], pa.string()),
    }
    if spec.label_from == "parent_folder":
        columns["label"] = pa.array([_parent_name(i) for i in ids], pa.string())
    return conform(pa.table(columns), MANIFEST, name=f"manifest of {root}").sort_by("sample_id")


# --- what lies below a folder ---


def objects_below(uri: str, storage: StorageSpec | None) -> Iterator[Listed]:
    filesystem, root = open_remote(uri, storage, what="corpus folder")
    if root.is_file:
        raise InputError(_not_a_folder(uri))
    try:
        infos = filesystem.get_file_info(fs.FileSelector(root.path, recursive=True))
    except OSError as error:
        raise explained(error, "corpus folder", uri) from error
    for info in infos:
        if info.is_file:
            place = f"{scheme_of(uri)}://{info.path}"
            yield Listed(info.path[len(root.path) + 1 :], place, listed_hash=hash_listed(info))


def files_below(root: str) -> Iterator[Listed]:
    """Every file below a local folder, in no fixed order.

    Symlinked folders are entered unless they lead back to a folder above them: that alone makes a loop, and the
    answer does not depend on the order in which folders are met.
    """
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while pending:
        prefix, ancestors = pending.pop()
        folder = os.path.join(root, prefix)
        try:
            status = os.stat(folder)
            entries = _entries(folder)
        except OSError as error:
            if not prefix:
                raise InputError(
                    f"corpus folder: cannot list {folder!r} ({error.strerror}); make it readable"
                ) from error
            detail = f"the folder cannot be listed: {error.strerror}; make it readable or move it away"
            yield Listed(prefix, folder, (Reason.UNREADABLE_FOLDER, detail))
            continue
        identity = status.st_dev, status.st_ino
        if identity in ancestors:
            continue
        for entry in entries:
            if _is_folder(entry):
                pending.append((f"{prefix}{entry.name}/", (*ancestors, identity)))
            else:
                yield Listed(prefix + entry.name, entry.path, _problem_of_kind(entry))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself
        return False


def _problem_of_kind(entry: os.DirEntry[str]) -> tuple[Reason, str] | None:
    """Of what must not be opened: a pipe would wait for ever. Links that lead nowhere are for ingest to reject."""
    try:
        if entry.is_file():
            return None
        mode = entry.stat().st_mode
    except OSError:
        return None
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return Reason.MISSING_FILE, f"{kind}, not a regular file; move it away"


def _checked_root(path: str) -> str:
    root = existing_path(path, what="corpus folder")
    if not os.path.isdir(root):
        raise InputError(_not_a_folder(root))
    if _in_utf8(root) != root:
        raise InputError(f"corpus folder {root!r}: its name is not UTF-8, and tables hold UTF-8 only; rename it")
    return root


def _not_a_folder(path: str) -> str:
    is_manifest = suffix_of(path) in MANIFEST_SUFFIXES
    hint = "use kind: manifest to read it as a list of files" if is_manifest else "give the folder that holds it"
    return f"corpus folder {path!r} is a file, expected a folder; {hint}"


def _nothing_found(root: str, left_out: dict[str, int], suffixes: tuple[str, ...]) -> str:
    found = f"{sum(left_out.values())} other files ({counted(left_out)})" if left_out else "no files at all"
    return (
        f"corpus folder {root!r} holds no video: found {found}, expected files that end in {' '.join(suffixes)}; "
        "check the path, or set suffixes"
    )


# --- names ---


def _is_hidden(name: str) -> bool:
    """As `ls` has it, but for names of two dots and more, such as "..final cut.mp4": nobody hides a file like that."""
    return name.startswith(".") and not name.startswith("..")


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _parent_name(sample_id: str) -> str | None:
    return sample_id.rsplit("/", 2)[-2] if "/" in sample_id else None


def _in_utf8(name: str) -> str:
    """The name itself, or with the bytes that are no UTF-8 written as \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _problem_of_name(path: str) -> tuple[Reason, str] | None:
    if _in_utf8(path) == path:
        return None
    return Reason.BAD_NAME, "the name is not UTF-8, its other bytes are escaped here; rename it, for instance by convmv"


def _unique_ids(found: list[Listed]) -> list[str]:
    """Paths as ids: an escaped one may be what another file is called, and gives way to it."""
    taken = {file.path for file in found}
    ids = []
    for file in found:
        sample_id = _in_utf8(file.path)
        while sample_id != file.path and sample_id in taken:
            sample_id += "\\"
        taken.add(sample_id)
        ids.append(sample_id)
    return ids
