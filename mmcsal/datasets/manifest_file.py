"""A CSV, TSV or Parquet file, local or on an object store, that lists the samples, one a row."""

import csv
import difflib
import io
import math
import os
import posixpath
from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.spec import Spec
from mmcsal.contracts.table import check_unique_ids, conform
from mmcsal.datasets.synthetic.content import (
    combine_hashes,
    existing_path,
    hash_contents,
    is_remote,
    open_remote,
    without_file_scheme,
)
from mmcsal.storage.uri import SCHEMES, StorageSpec, scheme_of

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
MANIFEST_SUFFIXES = (*_DELIMITERS, ".parquet")
_USUAL_NAMES = {
    "id_column": ("sample_id", "id"),
    "label_column": ("label",),
    "cost_column": ("cost",),
    "audio_path_column": ("audio_path",),
    "text_column": ("text",),
    "start_s_column": ("start_s",),
    "duration_s_column": ("duration_s",),
}
_MAX_ROWS_NAMED = 5

_Open = Callable[[], pa.NativeFile]


class ManifestFileSpec(Spec):
    """The rows of the file at `path`: `.csv`, `.tsv` or `.parquet`.

    A column that is None is taken from the file by its usual name (`sample_id` or `id`, `label`, `cost`,
    `audio_path`, `text`, `start_s`, `duration_s`) where there is one. Relative media paths start at the folder of the
    file; URIs of object stores (s3://, gs://) are kept. Without an id column, the id is the path as written, and
    `#start_s` if set.
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
    duration_s_column: str | None = None


def read_manifest_file(spec: ManifestFileSpec, storage: StorageSpec | None = None) -> pa.Table:
    """The MANIFEST table of a manifest file, sorted by sample_id.

    Raises:
        InputError: the file is missing, empty, of an unknown suffix or malformed; a named column is missing; or a path,
            id, cost, start or duration is not usable. The message names the column and the rows.
    """
    path, open_file = _opener(without_file_scheme(spec.path), storage)
    table, column_of = _read_columns(path, open_file, spec)
    if not table.num_rows:
        raise InputError(f"manifest {path!r} has no rows; expected one row a sample below the column names")

    def texts(role: str) -> list[str | None] | None:
        return _strings(table, column_of[role], path) if role in column_of else None

    paths = _required(texts("path_column"), column_of["path_column"], path)
    audio_paths = texts("audio_path_column")
    starts_s = _numbers(table, column_of.get("start_s_column"), path)
    ids = _sample_ids(texts("id_column"), column_of.get("id_column"), paths, starts_s, path)
    folder = os.path.dirname(path)
    _check_schemes(paths, column_of["path_column"], path)
    _check_schemes(audio_paths or [], column_of.get("audio_path_column", ""), path)
    uris = [_to_uri(p, folder) for p in paths]
    audio_uris = [_to_uri(p, folder) if p else None for p in audio_paths or [None] * len(uris)]
    columns = {
        "sample_id": ids,
        "uri": uris,
        "audio_uri": pa.array(audio_uris, pa.string()),
        "text": pa.array(texts("text_column") or [None] * len(uris), pa.string()),
        "start_s": starts_s,
        "duration_s": _numbers(table, column_of.get("duration_s_column"), path, is_positive=True),
        "label": pa.array(texts("label_column") or [None] * len(uris), pa.string()),
        "cost": _numbers(table, column_of.get("cost_column"), path),
        "source": [spec.kind] * len(uris),
        "content_hash": pa.array(_hashes(uris, audio_uris), pa.string()),
    }
    return conform(pa.table(columns), MANIFEST, name=f"manifest {path!r}").sort_by("sample_id")


def _opener(path: str, storage: StorageSpec | None) -> tuple[str, _Open]:
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


# --- reading the file ---


def _read_columns(path: str, open_file: _Open, spec: ManifestFileSpec) -> tuple[pa.Table, dict[str, str]]:
    """The columns that are used, and the column of each role of the spec."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise InputError(f"manifest {path!r} ends in {suffix!r}; expected .csv, .tsv or .parquet")
    try:
        if suffix == ".parquet":
            with open_file() as file:
                parquet = pq.ParquetFile(file)
                column_of = _find_columns(parquet.schema_arrow.names, spec, path)
                return parquet.read(sorted(set(column_of.values()))), column_of
        column_of = _find_columns(_csv_header(path, open_file, _DELIMITERS[suffix]), spec, path)
        return _read_csv(open_file, _DELIMITERS[suffix], sorted(set(column_of.values()))), column_of
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"manifest {path!r} cannot be read as {suffix[1:]}: {error}; mend the file or its suffix"
        ) from error


def _csv_header(path: str, open_file: _Open, delimiter: str) -> list[str]:
    with io.TextIOWrapper(open_file(), encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=delimiter), [])
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise InputError(f"manifest {path!r}: columns {repeated} occur more than once; rename all but one")
    return names


def _read_csv(open_file: _Open, delimiter: str, names: list[str]) -> pa.Table:
    """The named columns, all as strings: a guess at types would turn the id "001" into 1 and "NA" into null."""
    with open_file() as file:
        return pa_csv.read_csv(
            file,
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=names,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


def _find_columns(present: Sequence[str], spec: ManifestFileSpec, path: str) -> dict[str, str]:
    found = {"path_column": _present_column(spec.path_column, "path_column", present, path)}
    for role, usual_names in _USUAL_NAMES.items():
        asked = getattr(spec, role)
        if asked is not None:
            found[role] = _present_column(asked, role, present, path)
            continue
        usual = next((n for n in usual_names if n in present), None)
        if usual is not None:
            found[role] = usual
    return found


def _present_column(name: str, role: str, present: Sequence[str], path: str) -> str:
    if name in present:
        return name
    closest = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
    hint = f"did you mean {closest[0]!r}? Set {role}" if closest else f"set {role} to one of them"
    raise InputError(f"manifest {path!r} has no column {name!r} ({role}); it has {list(present)}; {hint}")


# --- reading a column ---


def _strings(table: pa.Table, name: str, path: str) -> list[str | None]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return column.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"manifest {path!r}: column {name!r} is {column.type}, expected text ({error})") from error


def _numbers(table: pa.Table, name: str | None, path: str, *, is_positive: bool = False) -> pa.Array:
    """A column as float64 [N], nulls kept; every number finite and >= 0 (> 0 if `is_positive`)."""
    if name is None:
        return pa.nulls(table.num_rows, pa.float64())
    texts = _strings(table, name, path)
    values = [_to_number(t) for t in texts]
    bad = [
        i
        for i, v in enumerate(values)
        if v is not None and not (math.isfinite(v) and (v > 0 if is_positive else v >= 0))
    ]
    if bad:
        expected = "a number above 0" if is_positive else "a number of at least 0"
        examples = [texts[i] for i in bad[:_MAX_ROWS_NAMED]]
        raise InputError(
            f"manifest {path!r}: column {name!r} is {examples} in {_name_rows(bad)}; expected {expected}, or nothing"
        )
    return pa.array(values, pa.float64())


def _to_number(text: str | None) -> float | None:
    """NaN for what is not a number, so that one check finds every bad row."""
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return math.nan


def _required(texts: list[str | None] | None, name: str, path: str) -> list[str]:
    values = texts or []
    empty = [i for i, t in enumerate(values) if t is None or not t.strip()]
    if empty:
        raise InputError(
            f"manifest {path!r}: column {name!r} is empty in {_name_rows(empty)}; fill or delete these rows"
        )
    return [t for t in values if t is not None]


def _name_rows(rows: list[int]) -> str:
    numbers = ", ".join(str(r + 1) for r in rows[:_MAX_ROWS_NAMED])
    more = f" and {len(rows) - _MAX_ROWS_NAMED} more" if len(rows) > _MAX_ROWS_NAMED else ""
    return f"rows {numbers}{more} (the first below the column names is 1)"


# --- what a row means ---


def _sample_ids(
    given: list[str | None] | None, name: str | None, paths: list[str], starts_s: pa.Array, path: str
) -> list[str]:
    if name is not None:
        ids = _required(given, name, path)
        advice = f"column {name!r} names a sample, make it unique"
    else:
        ids = [p if s is None else f"{p}#{_short(s)}" for p, s in zip(paths, starts_s.to_pylist(), strict=True)]
        advice = "delete the repeated rows, or add an id column and set id_column"
    try:
        check_unique_ids(pa.array(ids), name=f"manifest {path!r}")
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    return ids


def _short(seconds: float) -> str:
    return repr(seconds).removesuffix(".0")


def _check_schemes(written: Sequence[str | None], name: str, path: str) -> None:
    bad = [i for i, w in enumerate(written) if w is not None and scheme_of(w) not in (None, *SCHEMES)]
    if bad:
        raise InputError(
            f"manifest {path!r}: column {name!r} is {[written[i] for i in bad[:_MAX_ROWS_NAMED]]} in "
            f"{_name_rows(bad)}; media are read from local paths, s3:// and gs:// only; copy these to one of them"
        )


def _to_uri(written: str, folder: str) -> str:
    if scheme_of(written):
        return without_file_scheme(written)
    if not is_remote(folder):
        return os.path.normpath(os.path.join(folder, written))
    # One slash of the scheme would be lost to normpath.
    scheme, _, place = folder.partition("://")
    return written if written.startswith("/") else f"{scheme}://{posixpath.normpath(f'{place}/{written}')}"


def _hashes(uris: list[str], audio_uris: list[str | None]) -> list[str | None]:
    """One hash a sample, over the files that it needs; None for remote ones. Segments of one file share one read."""
    files = sorted({u for u in (*uris, *audio_uris) if u is not None and not is_remote(u)})
    hash_of = dict(zip(files, hash_contents(files), strict=True))
    return [
        combine_hashes([hash_of.get(u) for u in (uri, audio_uri) if u is not None])
        for uri, audio_uri in zip(uris, audio_uris, strict=True)
    ]
