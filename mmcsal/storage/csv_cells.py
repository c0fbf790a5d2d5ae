"""Texts as cells of a CSV file that people open in spreadsheets, where some texts would be run as formulas."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

# What spreadsheets take for the begin of a formula, or skip before they look for one; the wide forms are East Asian.
FORMULA_BEGINS = tuple("=+-@\t\r\n＝＋－＠")
MARK = "'"  # makes a text of whatever follows


def neutral(text: str) -> str:
    """The text, or with a mark before it if a spreadsheet would run it; `plain` takes the mark away again."""
    return MARK + text if text.lstrip(MARK).startswith(FORMULA_BEGINS) else text


def plain(cell: str) -> str:
    """The text of which `neutral` made the cell."""
    return cell[1:] if cell.startswith(MARK) and cell.lstrip(MARK).startswith(FORMULA_BEGINS) else cell


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file: every text quoted, so that line ends in it end no row, and neutral; numbers as they are."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    stream.write(",".join(map(neutral, names)) + "\n")
    writer.writerows([neutral(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return stream.getvalue()
