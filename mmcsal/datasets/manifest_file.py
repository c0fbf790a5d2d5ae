"""A CSV, TSV, JSON lines or Parquet file, local or on an object store, that lists the samples, one a row."""

import difflib
import os
import re
from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.spec import Spec
from mmcsal.contracts.table import check_unique_ids, conform
from mmcsal.datasets.place import existing_path, is_remote, open_remote, without_file_scheme
from mmcsal.datasets.scan import Scan
from mmcsal.datasets.sheet import SUFFIXES, Open, open_sheet
from mmcsal.datasets.written import name_rows, numbers, refuse, to_uris
from mmcsal.storage.content import combine_hashes, hash_contents
from mmcsal.storage.uri import StorageSpec

MANIFEST_SUFFIXES = SUFFIXES
_USUAL_NAMES = {
    "id_column": ("sample_id", "id"),
    "label_column": ("label",),
    "cost_column": ("cost",),
    "audio_path_column": ("audio_path",),
    "text_column": ("text",),
    "start_s_column": ("start_s", "start"),
    "end_s_column": ("end_s", "end"),
    "duration_s_column": ("duration_s", "duration"),
}
_MAX_NAMES_TOLD = 10
_SAME_S = 0.01  # times are written with two decimals, often


class ManifestFileSpec(Spec):
    """The rows of the file at `path`: `.csv` or `.tsv` (also with semicolons or bars, in UTF-8 or UTF-16), `.jsonl` or
    `.parquet`.

    A column that is None is taken from the file by its usual name (`sample_id` or `id`, `label`, `cost`,
    `audio_path`, `text`, `start_s` or `start`, `end_s` or `end`, `duration_s` or `duration`) where there is one, in any
    case and with blanks. Relative media paths start at the folder of the file; URIs of object stores (s3://, gs://) are
    kept. Times are seconds or h:mm:ss. Without an id column, the id is the path as written, and `#start_s` if set.
    """

    kind: Literal["manifest"] = "manifest"
    path: str
    path_column: str = "path"
    id_column: str | None = None
    label_column: str | None = None
    cost_column: str | None = None
    audio_path_column: str | None = None
    text_column: str | None = None
    start_s_column: str | None = None
    end_s_column: str | None = None
    duration_s_column: str | None = None


def read_manifest_file(spec: ManifestFileSpec, storage: StorageSpec | None = None, *, has_hashes: bool = True) -> Scan:
    """The MANIFEST of a manifest file, sorted by sample_id, with a note of the columns that are not used.

    Args:
        spec: the file and its columns.
        storage: how object stores are reached.
        has_hashes: whether the media are opened for their content hashes.

    Raises:
        InputError: the file is missing, empty, of an unknown suffix or malformed; a named column is missing; or a path,
            id, cost or time is not usable. The message names the column and the rows.
    """
    path, open_file = _opener(without_file_scheme(spec.path), storage)
    sheet = open_sheet(path, open_file, lambda name: _plain(name) in _known_names(spec))
    column_of = _find_columns(sheet.names, spec, path)
    columns = sheet.read(sorted(set(column_of.values())))
    num_rows = len(columns[column_of["path_column"]])
    if not num_rows:
        raise InputError(f"manifest {path!r} has no rows; expected one row a sample below the column names")

    def texts(role: str) -> list[str | None]:
        return columns[column_of[role]].to_pylist() if role in column_of else [None] * num_rows

    def where(role: str) -> str:
        return f"manifest {path!r}: column {sheet.names[column_of[role]]!r}" if role in column_of else ""

    paths = _required(texts("path_column"), where("path_column"))
    start_s, duration_s = _times(texts, where, num_rows)
    ids = _sample_ids(texts("id_column"), where("id_column"), paths, start_s, path)
    folder = os.path.dirname(path)
    uris = to_uris(paths, folder, where("path_column"))
    audio_uris = to_uris(texts("audio_path_column"), folder, where("audio_path_column"))
    table = {
        "sample_id": ids,
        "uri": uris,
        "audio_uri": pa.array(audio_uris, pa.string()),
        "text": pa.array(texts("text_column"), pa.string()),
        "start_s": start_s,
        "duration_s": duration_s,
        "label": pa.array(texts("label_column"), pa.string()),
        "cost": numbers(texts("cost_column"), where("cost_column")),
        "source": [spec.kind] * num_rows,
        "content_hash": pa.array(_hashes(uris, audio_uris) if has_hashes else [None] * num_rows, pa.string()),
    }
    manifest = conform(pa.table(table), MANIFEST, name=f"manifest {path!r}").sort_by("sample_id")
    unused = [name for column, name in enumerate(sheet.names) if column not in column_of.values()]
    return Scan(manifest, {}, (_note_of_unused(unused, path),) if unused else ())


def _opener(path: str, storage: StorageSpec | None) -> tuple[str, Open]:
    """The absolute path or the URI of a manifest, and what opens it."""
    if is_remote(path):
        filesystem, info = open_remote(path, storage, what="manifest")
        place, is_file = path, info.is_file
        inner = info.path
    else:
        filesystem, place = fs.LocalFileSystem(), existing_path(path, what="manifest")
        is_file = not os.path.isdir(place)
        inner = place
    if not is_file:
        raise InputError(f"manifest {place!r} is a folder, expected a file; use kind: folder to read the videos in it")
    return place, lambda: filesystem.open_input_file(inner)


# --- columns ---


def _plain(name: str) -> str:
    """A column's name without case, blanks and signs: `Start (s)` is start_s."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def _known_names(spec: ManifestFileSpec) -> set[str]:
    asked = (getattr(spec, role) for role in ("path_column", *_USUAL_NAMES))
    return {*(_plain(name) for name in asked if name), *(name for names in _USUAL_NAMES.values() for name in names)}


def _find_columns(present: Sequence[str], spec: ManifestFileSpec, path: str) -> dict[str, int]:
    """The number of the column of each role of the spec that has one."""
    found = {}
    for role in ("path_column", *_USUAL_NAMES):
        asked = getattr(spec, role)
        names = _USUAL_NAMES[role] if asked is None else (asked,)
        columns = (_column_named(name, present, path) for name in names)
        column = next((column for column in columns if column is not None), None)
        if column is not None:
            found[role] = column
        elif asked is not None:
            raise _missing_column(asked, role, present, path)
    return found


def _column_named(name: str, present: Sequence[str], path: str) -> int | None:
    """The column of exactly this name, else of one that differs in case, blanks and signs alone."""
    for is_same in (lambda n: n == name, lambda n: _plain(n) == _plain(name)):
        columns = [column for column, other in enumerate(present) if is_same(other)]
        if len(columns) > 1:
            names = sorted({present[column] for column in columns})
            raise InputError(f"manifest {path!r}: columns {names} occur more than once; rename all but one")
        if columns:
            return columns[0]
    return None


def _missing_column(name: str, role: str, present: Sequence[str], path: str) -> InputError:
    closest = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
    hint = f"did you mean {closest[0]!r}? Set {role}" if closest else f"set {role} to one of them"
    return InputError(f"manifest {path!r} has no column {name!r} ({role}); it has {list(present)}; {hint}")


def _note_of_unused(names: list[str], path: str) -> str:
    listed = ", ".join(repr(name) for name in names[:_MAX_NAMES_TOLD])
    more = f" and {len(names) - _MAX_NAMES_TOLD} more" if len(names) > _MAX_NAMES_TOLD else ""
    return f"columns of {path} that are not used: {listed}{more}"


# --- what a row means ---


def _required(texts: list[str | None], where: str) -> list[str]:
    empty = [i for i, t in enumerate(texts) if t is None or not t.strip()]
    if empty:
        raise InputError(f"{where} is empty in {name_rows(empty)}; fill or delete these rows")
    return [t for t in texts if t is not None]


def _times(
    texts: Callable[[str], list[str | None]], where: Callable[[str], str], num_rows: int
) -> tuple[pa.Array, pa.Array]:
    """Start and duration of each row in seconds, from two of start, end and duration, or all three if they agree."""
    start_texts, end_texts, duration_texts = map(texts, ("start_s_column", "end_s_column", "duration_s_column"))
    start_s = numbers(start_texts, where("start_s_column"), is_time=True)
    duration_s = numbers(duration_texts, where("duration_s_column"), is_time=True, is_positive=True)
    if not where("end_s_column"):
        return start_s, duration_s
    end_s = numbers(end_texts, where("end_s_column"), is_time=True)
    spans_s = [
        None if end is None else end - (start or 0.0)
        for start, end in zip(start_s.to_pylist(), end_s.to_pylist(), strict=True)
    ]
    early = [i for i, span in enumerate(spans_s) if span is not None and span <= 0]
    refuse(where("end_s_column"), end_texts, early, f"an end after the start, which is {_shown(start_texts, early)}")
    given_s = duration_s.to_pylist()
    torn = [i for i in range(num_rows) if _differ(spans_s[i], given_s[i])]
    refuse(
        where("end_s_column"),
        end_texts,
        torn,
        f"start and duration to agree with it, which are {_shown(start_texts, torn)} and "
        f"{_shown(duration_texts, torn)}; mend these rows or delete one of the columns",
    )
    return start_s, pa.array([d if s is None else s for s, d in zip(spans_s, given_s, strict=True)], pa.float64())


def _differ(span_s: float | None, duration_s: float | None) -> bool:
    return span_s is not None and duration_s is not None and abs(span_s - duration_s) > _SAME_S + 1e-9


def _shown(texts: list[str | None], rows: list[int]) -> list[str | None]:
    return [texts[i] for i in rows[: _MAX_NAMES_TOLD // 2]]


def _sample_ids(given: list[str | None], where: str, paths: list[str], start_s: pa.Array, path: str) -> list[str]:
    if where:
        ids = _required(given, where)
        advice = f"{where.rsplit(': ', 1)[-1]} names a sample, make it unique"
    else:
        ids = [p if s is None else f"{p}#{_short(s)}" for p, s in zip(paths, start_s.to_pylist(), strict=True)]
        advice = "delete the repeated rows, or add an id column and set id_column"
    try:
        check_unique_ids(pa.chunked_array([pa.array(ids)]), name=f"manifest {path!r}")
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    return ids


def _short(seconds: float) -> str:
    return repr(seconds).removesuffix(".0")


def _hashes(uris: list[str | None], audio_uris: list[str | None]) -> list[str | None]:
    """One hash a sample, over the files that it needs; None for remote ones. Segments of one file share one read."""
    files = sorted({u for u in (*uris, *audio_uris) if u is not None and not is_remote(u)})
    hash_of = dict(zip(files, hash_contents(files), strict=True))
    return [
        combine_hashes([hash_of.get(u) for u in (uri, audio_uri) if u is not None])
        for uri, audio_uri in zip(uris, audio_uris, strict=True)
    ]
