"""What spreadsheets would run comes back as text from every reader, row by row, and as it was from our own."""

import csv
from io import BytesIO, StringIO

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as pa_csv

from mmcsal.labeling.label_file import read_rows
from mmcsal.storage.csv_cells import FORMULA_BEGINS, csv_text, neutral, plain

HOSTILE = [
    "=1+1",
    "=HYPERLINK(\"http://example.invalid/?\"&A1;\"click\")",
    "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''=1", "a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", "a;b",
    "=a\r\n=b,\"=c", "plain", "'plain", " =1", "ü",
]  # fmt: skip


def is_formula(cell: str) -> bool:
    """By the rules of LibreOffice and Excel: of a text that is read from CSV, after white space that they skip."""
    return cell.lstrip("\t\r\n").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def written() -> str:
    return csv_text(["sample_id", "gain"], [[text, -0.5 - n] for n, text in enumerate(HOSTILE)])


def from_pandas(text: str) -> list[str]:
    return pd.read_csv(StringIO(text), keep_default_na=False)["sample_id"].tolist()


def from_pyarrow(text: str) -> list[str]:
    options = pa_csv.ParseOptions(newlines_in_values=True)
    types = pa_csv.ConvertOptions(column_types={"sample_id": pa.string()})
    return pa_csv.read_csv(BytesIO(text.encode()), parse_options=options, convert_options=types)[
        "sample_id"
    ].to_pylist()


def from_python(text: str) -> list[str]:
    """As LibreOffice reads: quotes hold line ends and separators, a doubled quote is one."""
    return [row["sample_id"] for row in csv.DictReader(StringIO(text, newline=""))]


@pytest.mark.parametrize("read", [from_pandas, from_pyarrow, from_python])
def test_no_reader_gets_a_formula_or_another_row(read):
    cells = read(written())
    assert [plain(cell) for cell in cells] == HOSTILE
    assert [cell for cell in cells if is_formula(cell)] == []


def test_numbers_stay_numbers():
    assert pd.read_csv(StringIO(written()))["gain"].tolist() == [-0.5 - n for n in range(len(HOSTILE))]


def test_what_is_labeled_in_a_spreadsheet_finds_its_samples():
    """Our readers take the mark away again."""
    table = read_rows(pa.BufferReader(written().encode("utf-8")), "labels.csv", "sample_id")
    assert table["sample_id"].to_pylist() == HOSTILE


@given(st.text(st.sampled_from([*FORMULA_BEGINS, "'", "a", " ", '"'])))
def test_a_mark_can_always_be_taken_away(text):
    assert plain(neutral(text)) == text
    assert not is_formula(neutral(text))
