"""A table as people write it (CSV, TSV, JSON lines, Parquet), read as columns of text: which columns, then their cells.

Cells stay as they are written, since a guess at types would turn the id "001" into 1 and "NA" into nothing. What has
no value (an empty cell, null, NaN) is null.
"""

import codecs
import csv
import io
import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from mmcsal.contracts.errors import InputError, on_one_line
from mmcsal.storage.tables import open_parquet, read_table

Open = Callable[[], pa.NativeFile]
CSV_SUFFIXES, JSON_SUFFIXES, PARQUET_SUFFIX = (".csv", ".tsv"), (".jsonl", ".ndjson"), ".parquet"
SUFFIXES = (*CSV_SUFFIXES, *JSON_SUFFIXES, PARQUET_SUFFIX)

_DELIMITERS = (",", ";", "\t", "|")
_NO_DELIMITER = "\x1f"  # of a file with one column: its cells may hold all of the above
_EXCEL_HINT = "sep="  # the first line of a CSV that Excel writes may say what delimits
_HEAD_BYTES = 1 << 16
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Sheet:
    """The names of the columns, in order, and what reads some of them, by their numbers, as columns of strings."""

    names: Sequence[str]
    read: Callable[[Collection[int]], dict[int, pa.ChunkedArray]]


def open_sheet(path: str, open_file: Open, is_known: Callable[[str], bool]) -> Sheet:
    """The sheet of a file whose suffix is one of `SUFFIXES`.

    Args:
        path: in errors, and for its suffix.
        open_file: opens the file, as often as needed.
        is_known: whether a column's name means something: tells the delimiter where several would do.

    Raises:
        InputError: it is of another suffix, or cannot be read as what its suffix says.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in CSV_SUFFIXES:
        kind, open_kind = "csv", lambda: _csv_sheet(open_file, "\t" if suffix == ".tsv" else ",", is_known)
    elif suffix in JSON_SUFFIXES:
        kind, open_kind = "JSON lines", lambda: _json_sheet(open_file)
    elif suffix == PARQUET_SUFFIX:
        kind, open_kind = "parquet", lambda: _parquet_sheet(open_file, f"manifest {path!r}")
    else:
        raise InputError(f"manifest {path!r} ends in {suffix!r}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")

    def told(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except UnicodeError as error:
            raise InputError(
                f"manifest {path!r} cannot be read as {kind}: it is not UTF-8 ({error}); save it as UTF-8"
            ) from error
        except (pa.ArrowException, OSError, csv.Error, ValueError) as error:
            raise InputError(
                f"manifest {path!r} cannot be read as {kind}: {on_one_line(error)}; mend the file or its suffix"
            ) from error

    sheet = told(open_kind)
    return Sheet(sheet.names, lambda columns: told(lambda: sheet.read(columns)))


# --- CSV ---


def _csv_sheet(open_file: Open, usual: str, is_known: Callable[[str], bool]) -> Sheet:
    encoding = _encoding_of(open_file)
    with io.TextIOWrapper(open_file(), encoding=encoding, newline="") as file:
        first_line = file.readline()
        told = _told_delimiter(first_line)
        lines = [*([] if told else [first_line]), *(file.readline() for _ in range(20))]  # a name may hold line breaks
    headers = {d: _first_row(lines, d) for d in ([told] if told else sorted(_DELIMITERS, key=lambda d: d != usual))}
    delimiter = max(headers, key=lambda d: (sum(map(is_known, headers[d])), len(headers[d])))
    names = headers[delimiter]

    def read(columns: Collection[int]) -> dict[int, pa.ChunkedArray]:
        with open_file() as file:
            table = pa_csv.read_csv(
                file,
                read_options=pa_csv.ReadOptions(
                    encoding="utf-8" if encoding == "utf-8-sig" else encoding,
                    column_names=[str(column) for column in range(len(names))],
                    skip_rows=1 if told else 0,
                    skip_rows_after_names=1,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter if len(names) > 1 else _NO_DELIMITER, newlines_in_values=True
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types={str(column): pa.string() for column in columns},
                    include_columns=[str(column) for column in columns],
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        return {column: table[str(column)] for column in columns}

    return Sheet(names, read)


def _encoding_of(open_file: Open) -> str:
    """Of its mark; without one, UTF-16 is told by the zeros in every other byte, and anything else is UTF-8."""
    with open_file() as file:
        head = file.read(_HEAD_BYTES)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2], head[1::2]
    if odd.count(0) > len(odd) / 2:
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > len(even) / 2 else "utf-8"


def _told_delimiter(line: str) -> str | None:
    text = line.strip("\r\n\"'")
    return text[len(_EXCEL_HINT)] if text[:-1].lower() == _EXCEL_HINT else None


def _first_row(lines: list[str], delimiter: str) -> list[str]:
    return next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])


# --- JSON lines ---


def _json_sheet(open_file: Open) -> Sheet:
    names = list(dict.fromkeys(key for _, row in _json_rows(open_file) for key in row))

    def read(columns: Collection[int]) -> dict[int, pa.ChunkedArray]:
        cells: dict[int, list[str | None]] = {column: [] for column in columns}
        for line, row in _json_rows(open_file):
            for column, texts in cells.items():
                texts.append(_json_text(row.get(names[column]), names[column], line))
        return {column: pa.chunked_array([pa.array(texts, pa.string())]) for column, texts in cells.items()}

    return Sheet(names, read)


def _json_rows(open_file: Open) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line that is not empty, and what it holds."""
    with io.TextIOWrapper(open_file(), encoding=_encoding_of(open_file)) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {line}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {line} holds a {type(row).__name__}, expected an object of column names")
            yield line, row


def _json_text(value: Any, name: str, line: int) -> str | None:
    match value:
        case None | "":
            return None
        case str():
            return value
        case bool():
            return json.dumps(value)
        case int():
            return str(value)
        case float():
            return None if math.isnan(value) else repr(value).removesuffix(".0")
        case _:
            raise ValueError(f"line {line}: column {name!r} holds a {type(value).__name__}, expected text or a number")


# --- Parquet ---


def _parquet_sheet(open_file: Open, where: str) -> Sheet:
    with open_file() as file, open_parquet(file, where=where) as parquet:
        names = parquet.schema_arrow.names

    def read(columns: Collection[int]) -> dict[int, pa.ChunkedArray]:
        with open_file() as file:
            table = read_table(file, columns=[names[column] for column in columns], where=where)
        return {column: _as_text(table[names[column]], names[column]) for column in columns}

    return Sheet(names, read)


def _as_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        chunks = [pa.array(chunk.to_numpy(zero_copy_only=False), from_pandas=True) for chunk in column.chunks]
        column = pa.chunked_array(chunks, column.type)
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name!r} is {column.type}, expected text or numbers ({error})") from error
