"""Corpora whose lists say which samples there are, with labels and splits, and whose media are found by their names."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import FRAME_SUFFIXES, MANIFEST
from mmcsal.contracts.reject import Reason
from mmcsal.contracts.table import conform
from mmcsal.datasets.folder import HIDDEN, VIDEO_SUFFIXES, files_below, objects_below, suffix_of
from mmcsal.datasets.place import existing_path, is_remote, open_remote, without_file_scheme
from mmcsal.datasets.scan import Scan, grouped
from mmcsal.storage.content import combine_hashes, hash_contents
from mmcsal.storage.uri import StorageSpec, open_file, open_uri

Split = Literal["train", "test", "all"]
SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
UNLISTED, SAME_NAME = "media that no list names", "more media of a name"
_MAX_LINES_TOLD = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list: one sample."""

    sample_id: str
    names: tuple[str, ...]  # what its media may be called, the likeliest first
    label: str | None
    split: str
    where: str  # such as `vggsound.csv, line 7`


@dataclass(frozen=True, slots=True)
class Media:
    """A video file, or a folder of frames whose sound lies elsewhere."""

    uri: str
    label: str  # the folder that it lies in
    is_frames: bool = False
    listed_hash: str | None = None  # of an object store


@dataclass
class Found:
    """Media by their names, without suffix; of several of one name, the first by path."""

    media: dict[str, Media] = field(default_factory=dict)
    sounds: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def put(self, name: str, media: Media) -> None:
        """Keeps one of several of a name: videos before frames, then by path."""
        other = self.media.setdefault(name, media)
        if other.uri != media.uri:
            self.media[name] = min(other, media, key=lambda m: (m.is_frames, m.uri))
            self.left_out[SAME_NAME] += 1


class Root:
    """The folder of a corpus, local or on an object store.

    Args:
        path: the folder.
        storage: how object stores are reached.
        layout: what the folder should hold, for errors.

    Raises:
        InputError: it does not exist, or is a file.
    """

    def __init__(self, path: str, storage: StorageSpec | None, layout: str) -> None:
        self._layout, self._storage = layout, storage
        if is_remote(path):
            self.path = path.rstrip("/")
            _, info = open_remote(self.path, storage, what="corpus folder")
            is_folder = not info.is_file
        else:
            self.path = existing_path(without_file_scheme(path), what="corpus folder")
            is_folder = os.path.isdir(self.path)
        if not is_folder:
            raise self.refusal("is a file")

    def refusal(self, what: str) -> InputError:
        """An error that says what is wrong, and shows what was expected."""
        return InputError(f"corpus folder {self.path!r} {what}; expected {self._layout}")

    def has(self, name: str) -> bool:
        """Whether a file lies in the folder."""
        filesystem, path = open_uri(f"{self.path}/{name}", self._storage, what="corpus folder")
        return filesystem.get_file_info(path).is_file

    def text(self, name: str) -> str:
        """A list of the folder.

        Raises:
            InputError: it is not there, or no text.
        """
        if not self.has(name):
            raise self.refusal(f"has no {name}")
        with open_file(f"{self.path}/{name}", self._storage, what="corpus folder") as file:
            data = file.read()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}/{name} is not UTF-8 ({error.reason}); save it as UTF-8") from error

    def media(self, place_of: Callable[[str], str | None]) -> Found:
        """All media below the folder.

        Args:
            place_of: of a path below the folder, what lies there: "video", "frames" (one image), "sound", "list";
                None = nothing of ours.

        Raises:
            InputError: there are folders of frames on an object store, where nobody can read them yet.
        """
        found = Found()
        for file in objects_below(self.path, self._storage) if is_remote(self.path) else files_below(self.path):
            *folders, file_name = file.path.split("/")
            suffix = suffix_of(file_name)
            name = file_name[: len(file_name) - len(suffix)]
            is_file = file.problem is None and file.group != HIDDEN
            match place_of(file.path) if is_file else None:
                case "list":
                    continue
                case "video" if suffix in VIDEO_SUFFIXES:
                    found.put(name, Media(file.uri, ["", *folders][-1], listed_hash=file.listed_hash))
                case "frames" if suffix in FRAME_SUFFIXES:
                    found.put(folders[-1], Media(file.uri.rpartition("/")[0], folders[-2], is_frames=True))
                case "sound" if suffix in SOUND_SUFFIXES:
                    found.sounds[name] = min(file.uri, found.sounds.get(name, file.uri))
                case _:
                    found.left_out[file.group] += 1
        if is_remote(self.path) and any(media.is_frames for media in found.media.values()):
            raise self.refusal("holds folders of frames, which are read from a local disk alone: copy it to one")
        return found


def scan_lines(lines: Sequence[Line], found: Found, *, kind: str, split: Split, has_hashes: bool) -> Scan:
    """The samples of a split: their media, or a row that ingest rejects, since a line without media is no silence.

    Args:
        lines: all lines.
        found: the media that there are.
        kind: of the corpus.
        split: the lines that are meant; others are counted.
        has_hashes: whether media are opened for their content hashes.

    Raises:
        InputError: a sample is listed twice, or no line is of the split.
    """
    left_out = Counter(found.left_out)
    left_out.update(f"of the split {line.split}" for line in lines if split not in (line.split, "all"))
    # Media of the other split are listed, too.
    matched = list(zip(lines, _matched([line.names for line in lines], found.media), strict=True))
    left_out[UNLISTED] = len(found.media) - len({media.uri for _, media in matched if media is not None})
    wanted = [(line, media) for line, media in matched if split in (line.split, "all")]
    _check_lines([line for line, _ in wanted], split)
    table = _hashed([_row(line, media, found) for line, media in wanted], has_hashes) | {
        "sample_id": [line.sample_id for line, _ in wanted],
        "split": [line.split for line, _ in wanted],
        "source": [kind] * len(wanted),
    }
    manifest = conform(pa.table(table), MANIFEST, name=f"manifest of {kind}").sort_by("sample_id")
    return Scan(manifest, grouped(+left_out))


def _check_lines(wanted: Sequence[Line], split: Split) -> None:
    if not wanted:
        raise InputError(f"corpus: no line of its lists is of the split {split!r}; set corpus.split to another")
    by_id: dict[str, list[str]] = {}
    for line in wanted:
        by_id.setdefault(line.sample_id, []).append(line.where)
    twice = [f"{name} ({'; '.join(places)})" for name, places in by_id.items() if len(places) > 1]
    if twice:
        raise InputError(
            f"corpus: {len(twice)} samples are listed twice: {', '.join(twice[:_MAX_LINES_TOLD])}; delete one each"
        )


def _matched(names: Sequence[tuple[str, ...]], media: Mapping[str, Media]) -> list[Media | None]:
    """The media of each line: those of exactly its name, else those that add an end to it, `<id>_<start>_<end>`."""
    exact = [next((name for name in of_line if name in media), None) for of_line in names]
    rest = sorted(media.keys() - set(exact), reverse=True)  # of several ends, the first
    with_end = {name.rpartition("_")[0]: name for name in rest if name.rpartition("_")[2].isdecimal()}
    longer = [next((with_end[name] for name in of_line if name in with_end), None) for of_line in names]
    return [media.get(name or other or "") for name, other in zip(exact, longer, strict=True)]


def _row(line: Line, media: Media | None, found: Found) -> Mapping[str, str | None]:
    if media is None:
        return _missing(line, f"no media of the name {line.names[0]}")
    if not media.is_frames:
        return {"uri": media.uri, "label": line.label or media.label, "hash": media.listed_hash}
    audio_uri = found.sounds.get(media.uri.rpartition("/")[2])
    if audio_uri is None:
        return _missing(line, f"frames of the name {line.names[0]} without their sound")
    return {"uri": media.uri, "audio_uri": audio_uri, "label": line.label or media.label}


def _missing(line: Line, what: str) -> Mapping[str, str | None]:
    return {"label": line.label, "reason": str(Reason.MISSING_FILE), "detail": f"{line.where}: {what} below the folder"}


def _hashed(rows: Sequence[Mapping[str, str | None]], has_hashes: bool) -> dict[str, pa.Array]:
    files = [path for row in rows for path in (row.get("uri"), row.get("audio_uri")) if path and not is_remote(path)]
    hash_of = dict(zip(files, hash_contents(files), strict=True)) if has_hashes else {}

    def content_hash(row: Mapping[str, str | None]) -> str | None:
        paths = [path for path in (row.get("uri"), row.get("audio_uri")) if path]
        return row.get("hash") or (combine_hashes([hash_of.get(path) for path in paths]) if paths else None)

    columns = {name: [row.get(name) for row in rows] for name in ("uri", "audio_uri", "label")}
    columns["content_hash"] = [content_hash(row) for row in rows]
    columns |= {f"reject_{name}": [row.get(name) for row in rows] for name in ("reason", "detail")}
    return {name: pa.array(values, pa.string()) for name, values in columns.items()}
