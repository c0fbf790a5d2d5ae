"""Numbers, times and paths as people write them in a table."""

import math
import os
import posixpath
import re
from collections.abc import Sequence

import pyarrow as pa

from mmcsal.contracts.errors import InputError
from mmcsal.datasets.place import is_remote, without_file_scheme
from mmcsal.redaction import has_secret
from mmcsal.storage.uri import NO_SECRETS, SCHEMES, scheme_of

_MAX_ROWS_NAMED = 5
_ONE_AND_THREE_DIGITS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,250: a thousand and more, or one and a quarter?
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)")
_WINDOWS_PLACE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # C:\clips or \\server\share


def name_rows(rows: Sequence[int]) -> str:
    """Such as `rows 3, 7 (the first below the column names is 1)`."""
    numbers = ", ".join(str(r + 1) for r in rows[:_MAX_ROWS_NAMED])
    more = f" and {len(rows) - _MAX_ROWS_NAMED} more" if len(rows) > _MAX_ROWS_NAMED else ""
    return f"rows {numbers}{more} (the first below the column names is 1)"


def refuse(where: str, texts: Sequence[str | None], rows: Sequence[int], expected: str) -> None:
    """Raises an InputError that shows the first of the rows, if there are any; `where` names file and column."""
    if rows:
        examples = [texts[i] for i in rows[:_MAX_ROWS_NAMED]]
        raise InputError(f"{where} is {examples} in {name_rows(rows)}; expected {expected}")


# --- numbers and times ---


def numbers(texts: Sequence[str | None], where: str, *, is_time: bool = False, is_positive: bool = False) -> pa.Array:
    """A column as float64 [N], nulls kept; every number finite and >= 0 (> 0 if `is_positive`).

    A comma is a decimal mark where it can be nothing else: in a time of day, and in a column without a decimal point
    of which a cell has another number of digits than three behind the comma.

    Args:
        texts: the cells.
        where: the file and the column, in errors.
        is_time: whether cells may be h:mm:ss or m:ss, with parts of a second, as well as seconds.
        is_positive: see above.

    Raises:
        InputError: a cell is none of that, or its comma may mean thousands.
    """
    with_comma = [i for i, text in enumerate(texts) if text is not None and "," in text and ":" not in text]
    has_points = bool(with_comma) and any(text is not None and "." in text for text in texts)
    unclear = [i for i in with_comma if _ONE_AND_THREE_DIGITS.fullmatch((texts[i] or "").strip())]
    if unclear and (has_points or len(unclear) == len(with_comma)):
        refuse(where, texts, unclear, "no comma: it may mean thousands or a fraction; write 1250 or 1.25")
    value_of = {text: _number(text, is_time=is_time, has_points=has_points) for text in set(texts)}
    values = [value_of[text] for text in texts]
    bad = [i for i, v in enumerate(values) if v is not None and not (v > 0 if is_positive else v >= 0)]
    kind = "seconds or h:mm:ss" if is_time else "a number"
    refuse(where, texts, bad, f"{kind}{' above 0' if is_positive else ' of at least 0'}, or nothing")
    return pa.array(values, pa.float64())


def _number(text: str | None, *, is_time: bool, has_points: bool) -> float | None:
    """NaN for what is not a finite number, so that one check finds every bad row."""
    if text is None or not (text := text.strip()):
        return None
    if is_time and (clock := _CLOCK.fullmatch(text)):
        hours, minutes, seconds = int(clock[1] or 0), int(clock[2]), float(clock[3].replace(",", "."))
        return hours * 3600 + minutes * 60 + seconds if seconds < 60 and (minutes < 60 or not clock[1]) else math.nan
    if not has_points and _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


# --- paths ---


def to_uris(texts: Sequence[str | None], folder: str, where: str) -> list[str | None]:
    """Absolute paths and URIs of the media that a table in `folder` names; nulls and empty cells are None.

    Relative ones start at `folder`, `~` is the home of this user, and backslashes are taken for slashes unless there is
    a file of just that name.

    Raises:
        InputError: a secret in a URI, a scheme that nobody reads, or a place on a Windows machine (C:, a share).
    """
    secret = [i for i, text in enumerate(texts) if text and has_secret(text)]
    if secret:
        raise InputError(f"{where} in {name_rows(secret)} {NO_SECRETS}")
    bad = [i for i, text in enumerate(texts) if text and scheme_of(text) not in (None, *SCHEMES)]
    refuse(where, texts, bad, "local paths, s3:// and gs:// only; copy these media to one of them")
    windows = [i for i, text in enumerate(texts) if text and _WINDOWS_PLACE.match(text)]
    refuse(
        where, texts, windows, "no drives of Windows; write paths from the folder of this file, or where they lie here"
    )
    return [_to_uri(text.strip(), folder) if text and text.strip() else None for text in texts]


def _to_uri(written: str, folder: str) -> str:
    if scheme_of(written):
        return without_file_scheme(written)
    if written.startswith("~"):
        written = os.path.expanduser(written)
    if "\\" in written and not os.path.lexists(os.path.join(folder, written)):
        written = written.replace("\\", "/")
    if not is_remote(folder):
        return os.path.normpath(os.path.join(folder, written))
    # One slash of the scheme would be lost to normpath.
    scheme, _, place = folder.partition("://")
    return written if written.startswith("/") else f"{scheme}://{posixpath.normpath(f'{place}/{written}')}"
