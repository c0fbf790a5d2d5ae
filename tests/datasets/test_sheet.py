"""Tables as people write them: delimiters, encodings, JSON lines, Parquet; and what cannot be read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.datasets.sheet import Sheet, open_sheet

ROWS = [("a, b;c.mp4", "é|1"), ("d.mp4", None)]


def _sheet(file: Path, known: tuple[str, ...] = ()) -> Sheet:
    return open_sheet(str(file), lambda: fs.LocalFileSystem().open_input_file(str(file)), lambda name: name in known)


def _cells(sheet: Sheet) -> dict[str, list[str | None]]:
    columns = sheet.read(range(len(sheet.names)))
    assert all(column.type == pa.string() for column in columns.values())
    return {sheet.names[number]: column.to_pylist() for number, column in columns.items()}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimiter_and_encoding_are_found(tmp_path, delimiter, encoding, suffix):
    lines = [
        delimiter.join(f'"{cell or ""}"' for cell in row) for row in [("path", 'the "label"'.replace('"', '""')), *ROWS]
    ]
    (tmp_path / f"list{suffix}").write_bytes("\r\n".join([*lines, "", ""]).encode(encoding))
    cells = _cells(_sheet(tmp_path / f"list{suffix}"))
    assert cells == {"path": [path for path, _ in ROWS], 'the "label"': [label for _, label in ROWS]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("path;a,b,c,d\nx;1\n", ["path", "a,b,c,d"]),  # the known name tells, not the number of commas
        ('"sep=|"\npath|x,y\na.mp4|1\n', ["path", "x,y"]),
        ("sep=;\npath;x\na.mp4;1\n", ["path", "x"]),
        ('path,"two\nlines"\na.mp4,1\n', ["path", "two\nlines"]),
        ("path,x,,\na.mp4,1,,\n", ["path", "x", "", ""]),
    ],
)
def test_the_delimiter_is_the_one_that_makes_sense_of_the_first_row(tmp_path, text, names):
    (tmp_path / "list.csv").write_text(text)
    sheet = _sheet(tmp_path / "list.csv", known=("path",))
    assert list(sheet.names) == names
    assert {column: cells.to_pylist() for column, cells in sheet.read([1]).items()} == {1: ["1"]}


def test_one_column_alone_may_hold_any_delimiter(tmp_path):
    (tmp_path / "list.csv").write_text('path\na, b;c|d.mp4\n"e,f.mp4"\n')
    assert _cells(_sheet(tmp_path / "list.csv")) == {"path": ["a, b;c|d.mp4", "e,f.mp4"]}


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson"])
def test_json_lines_keep_strings_and_write_numbers(tmp_path, suffix):
    (tmp_path / f"list{suffix}").write_text(
        '{"path": "a.mp4", "id": "001", "label": 3.0, "is_good": true}\n\n{"path": "b.mp4", "id": 2, "label": NaN, '
        '"cost": 1.25}\n{"path": "", "label": null}\n'
    )
    assert _cells(_sheet(tmp_path / f"list{suffix}")) == {
        "path": ["a.mp4", "b.mp4", None],
        "id": ["001", "2", None],
        "label": ["3", None, None],
        "is_good": ["true", None, None],
        "cost": [None, "1.25", None],
    }


def test_parquet_of_any_type_is_text_and_nan_is_nothing(tmp_path):
    table = pa.table(
        {
            "label": pa.array([3.0, float("nan"), None, 0.1], pa.float32()),
            "class": pa.array(["a", None, "nan", "None"]).dictionary_encode(),
            "key": pa.array([7, 12, None, 1], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    assert _cells(_sheet(tmp_path / "list.parquet")) == {
        "label": ["3", None, None, "0.1"],
        "class": ["a", None, "nan", "None"],
        "key": ["7", "12", None, "1"],
    }


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.xlsx", b"x", r"ends in '\.xlsx'; expected \.csv, \.tsv, \.jsonl, \.ndjson or \.parquet"),
        ("list.csv", b"path,label\na.mp4,caf\xe9\n", "cannot be read as csv: it is not UTF-8.*save it as UTF-8"),
        ("list.csv", b"path,label\n" + b"a.mp4,x\n" * 20_000 + b"a.mp4,caf\xe9\n", "cannot be read as csv.*UTF-?8"),
        ("list.jsonl", b'{"path": "a.mp4"}\n{"path": \n', r"cannot be read as JSON lines: line 2: "),
        ("list.jsonl", b'["a.mp4"]\n', "line 1 holds a list, expected an object"),
        ("list.jsonl", b'{"path": ["a.mp4"]}\n', "line 1: column 'path' holds a list, expected text or a number"),
        ("list.parquet", b"path\na.mp4\n", "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as error:
        _cells(_sheet(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_of_parquet_that_are_no_text_are_refused_where_they_are_read(tmp_path):
    pq.write_table(pa.table({"path": ["a.mp4"], "boxes": [[1, 2]]}), tmp_path / "list.parquet")
    sheet = _sheet(tmp_path / "list.parquet")
    assert sheet.read([0])[0].to_pylist() == ["a.mp4"]
    with pytest.raises(InputError, match=r"column 'boxes' is list<.*>, expected text or numbers"):
        sheet.read([1])
