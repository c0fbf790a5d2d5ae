"""The manifest file source: columns, types, ids, paths, and errors that name the rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.datasets import ManifestFileSpec, build_manifest, read_corpus


def _csv(tmp_path: Path, text: str, name: str = "list.csv") -> str:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def _rows(path: str, **options) -> list[dict]:
    manifest = build_manifest(ManifestFileSpec(path=path, **options))
    assert manifest.schema == MANIFEST
    return manifest.to_pylist()


def test_usual_columns_are_found_and_strings_stay_as_written(tmp_path):
    path = _csv(
        tmp_path,
        'id,path,label,cost,text,note\n002,"clips/a, b.mp4",1,2.5,"two\nlines",x\n001,s3://bucket/b.mp4,007,,NA,y\n'
        '003,c.mp4,,,"",z\n',
    )
    first, second, third = _rows(path)
    assert (first["sample_id"], second["sample_id"], third["sample_id"]) == ("001", "002", "003")
    assert third["label"] is third["text"] is None
    assert (first["label"], second["label"]) == ("007", "1")
    assert (first["cost"], second["cost"]) == (None, 2.5)
    assert (first["text"], second["text"]) == ("NA", "two\nlines")
    assert first["uri"] == "s3://bucket/b.mp4"
    assert second["uri"] == str(tmp_path / "clips" / "a, b.mp4")
    assert first["source"] == "manifest"


def test_relative_paths_start_at_the_manifest_and_default_ids_are_the_paths_as_written(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.mp4").write_bytes(b"x")
    path = _csv(tmp_path / "lists", "\ufeffpath\tstart_s\tduration_s\n../a.mp4\t10.50\t2\n../a.mp4\t\t\n", "l.tsv")
    monkeypatch.chdir("/")
    whole, part = _rows(path)
    assert (whole["sample_id"], part["sample_id"]) == ("../a.mp4", "../a.mp4#10.5")
    assert whole["uri"] == part["uri"] == str(tmp_path / "a.mp4")
    assert (part["start_s"], part["duration_s"]) == (10.5, 2.0)
    assert whole["content_hash"] == part["content_hash"] is not None


def test_the_content_hash_covers_the_sound_file_and_is_null_where_a_file_is_missing(tmp_path):
    for name in ("a.mp4", "b.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    path = _csv(tmp_path, "path,audio_path\na.mp4,a.wav\nb.mp4,\nc.mp4,a.wav\ns3://h/d.mp4,\n")
    before = {r["sample_id"]: r for r in _rows(path)}
    assert before["a.mp4"]["audio_uri"] == str(tmp_path / "a.wav")
    assert before["c.mp4"]["content_hash"] is before["s3://h/d.mp4"]["content_hash"] is None
    (tmp_path / "a.wav").write_bytes(b"y")
    after = {r["sample_id"]: r for r in _rows(path)}
    assert after["a.mp4"]["content_hash"] != before["a.mp4"]["content_hash"]
    assert after["b.mp4"]["content_hash"] == before["b.mp4"]["content_hash"]


def test_parquet_of_other_types_is_read_with_named_columns(tmp_path):
    table = pa.table(
        {
            "video": pa.array(["a.mp4", "b.mp4"]).dictionary_encode(),
            "key": pa.array([7, 12], pa.int64()),
            "class": pa.array([3, None], pa.int8()),
            "price": pa.array([1, 2], pa.int32()),
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    rows = _rows(
        str(tmp_path / "list.parquet"),
        path_column="video",
        id_column="key",
        label_column="class",
        cost_column="price",
    )
    assert [(r["sample_id"], r["label"], r["cost"]) for r in rows] == [("12", None, 2.0), ("7", "3", 1.0)]


@pytest.mark.parametrize(
    ("text", "start_s", "duration_s"),
    [
        ("path,start_s,duration_s\na.mp4,3,2\n", 3.0, 2.0),
        ("path,start,end\na.mp4,3,5\n", 3.0, 2.0),
        ("path;start;end\na.mp4;3,25;0:00:05,75\n", 3.25, 2.5),
        ("path,end_s\na.mp4,5\n", None, 5.0),
        ("path\tStart S\tEnd (s)\tDuration\na.mp4\t1:00\t1:02.50\t2.5\n", 60.0, 2.5),
        ("path,start,end,duration\na.mp4,1,,5\n", 1.0, 5.0),
        ("path,start,end,duration\na.mp4,1.33,3.67,2.33\n", 1.33, 2.34),  # rounded to two decimals
    ],
)
def test_a_part_of_a_file_is_told_by_two_of_start_end_and_duration(tmp_path, text, start_s, duration_s):
    [row] = _rows(_csv(tmp_path, text))
    assert (row["start_s"], row["duration_s"]) == (start_s, pytest.approx(duration_s))


def test_names_of_columns_are_found_in_any_case_and_with_blanks_and_an_exact_one_wins(tmp_path):
    path = _csv(tmp_path, "\ufeff Path , Sample ID,LABEL,Audio path\na.mp4,x,cat,a.wav\n")
    [row] = _rows(path)
    assert (row["sample_id"], row["label"], row["audio_uri"]) == ("x", "cat", str(tmp_path / "a.wav"))
    [row] = _rows(_csv(tmp_path, "path,PATH,File Name\na.mp4,b.mp4,c.mp4\n"))
    assert row["uri"] == str(tmp_path / "a.mp4")
    [row] = _rows(path, path_column="file_name")
    assert row["uri"] == str(tmp_path / "c.mp4")


def test_columns_that_are_not_used_are_named_once(tmp_path):
    path = _csv(tmp_path, "path,note,start,start_s,split\na.mp4,x,1,2,train\nb.mp4,y,1,2,test\n")
    scan = read_corpus(ManifestFileSpec(path=path))
    assert scan.manifest["start_s"].to_pylist() == [2.0, 2.0]
    assert scan.warnings() == [f"columns of {path} that are not used: 'note', 'start', 'split'"]
    assert read_corpus(ManifestFileSpec(path=_csv(tmp_path, "path,label\na.mp4,x\n"))).warnings() == []


def test_json_lines_are_a_manifest_like_any_other(tmp_path):
    rows = '{"path": "a.mp4", "start": 1, "end": "0:03", "label": NaN}\n{"path": "b.mp4", "label": "cat"}\n'
    first, second = _rows(_csv(tmp_path, rows, "list.jsonl"))
    assert (first["sample_id"], first["start_s"], first["duration_s"], first["label"]) == ("a.mp4#1", 1.0, 2.0, None)
    assert (second["sample_id"], second["duration_s"], second["label"]) == ("b.mp4", None, "cat")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(7)), is_parquet=st.booleans())
def test_row_order_does_not_matter(tmp_path, order, is_parquet):
    table = pa.table({"path": [f"{i % 2}/é{i}.mp4" for i in range(7)], "label": list("abcdefg"), "cost": [*"1234567"]})

    def read(rows: list[int]) -> pa.Table:
        shuffled = table.take(rows)
        if is_parquet:
            file = tmp_path / "list.parquet"
            pq.write_table(shuffled, file)
            return build_manifest(ManifestFileSpec(path=str(file)))
        lines = [",".join(r.values()) for r in shuffled.to_pylist()]
        return build_manifest(ManifestFileSpec(path=_csv(tmp_path, "\n".join(["path,label,cost", *lines, ""]))))

    assert read(order) == read(list(range(7)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\n", "has no rows"),
        ("", "cannot be read as csv|no column 'path'"),
        ("paths,x\na.mp4,1\n", r"no column 'path' \(path_column\); it has \['paths', 'x'\]; did you mean 'paths'"),
        ("path,x\na.mp4,1\n,2\n  ,3\n", r"'path' is empty in rows 2, 3 "),
        ("path,id\na.mp4,1\nb.mp4,\n", r"'id' is empty in rows 2 "),
        ("path\na.mp4\nb.mp4\na.mp4\n", r"1 sample_ids occur more than once.*a\.mp4.*id_column"),
        ("path,id\na.mp4,1\nb.mp4,1\n", r"occur more than once.*'id' names a sample"),
        ("path,cost\na.mp4,1\nb.mp4,cheap\n", r"'cost' is \['cheap'\] in rows 2 .*a number of at least 0"),
        ("path,cost\na.mp4,-1\n", r"'cost' is \['-1'\] in rows 1 "),
        ("path,cost\na.mp4,nan\n", r"'cost' is \['nan'\]"),
        ("path,cost\na.mp4,inf\n", r"'cost' is \['inf'\]"),
        ("path,duration_s\na.mp4,0\n", r"'duration_s' is \['0'\].*above 0"),
        ("path,start_s\na.mp4,-2\n", r"'start_s' is \['-2'\]"),
        ("path,start,end\na.mp4,3,5\nb.mp4,3,0:02\n", r"'end' is \['0:02'\] in rows 2 .*after the start.*\['3'\]"),
        ("path,end\na.mp4,0\n", r"'end' is \['0'\] in rows 1 .*after the start"),
        ("path,start,end,duration\na.mp4,1,3,2\nb.mp4,1,3,5\n", r"'end' is \['3'\] in rows 2 .*duration.*\['5'\]"),
        ("PATH,Path\na.mp4,b\n", r"columns \['PATH', 'Path'\] occur more than once"),
        ("path,path\na.mp4,b\n", r"columns \['path'\] occur more than once"),
        ("path,x\na.mp4\n", r"cannot be read as csv: .*mend the file"),
    ],
)
def test_errors_name_the_column_and_the_rows(tmp_path, text, message):
    path = _csv(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        build_manifest(ManifestFileSpec(path=path))
    assert path in str(caught.value)


def test_a_named_column_that_is_missing_is_an_error_even_if_the_usual_one_is_there(tmp_path):
    path = _csv(tmp_path, "path,label,labels_v2\na.mp4,1,2\n")
    with pytest.raises(InputError, match=r"no column 'label_v2' \(label_column\).*'labels_v2'"):
        build_manifest(ManifestFileSpec(path=path, label_column="label_v2"))


def test_errors_of_the_file_itself(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv' does not exist"):
        build_manifest(ManifestFileSpec(path=str(tmp_path / "nowhere.csv")))
    with pytest.raises(InputError, match=r"is a folder.*kind: folder"):
        build_manifest(ManifestFileSpec(path=str(tmp_path)))
    with pytest.raises(InputError, match=r"ends in '\.xlsx'; expected \.csv"):
        build_manifest(ManifestFileSpec(path=_csv(tmp_path, "x", "list.xlsx")))
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        build_manifest(ManifestFileSpec(path=_csv(tmp_path, "path\na.mp4\n", "list.parquet")))
    (tmp_path / "latin.csv").write_bytes(b"path,label\na.mp4,caf\xe9\n")
    with pytest.raises(InputError, match="cannot be read as csv"):
        build_manifest(ManifestFileSpec(path=str(tmp_path / "latin.csv")))


def test_many_bad_rows_are_counted_and_not_listed(tmp_path):
    path = _csv(tmp_path, "path,cost\n" + "".join(f"{i}.mp4,x\n" for i in range(1000)))
    with pytest.raises(InputError, match=r"rows 1, 2, 3, 4, 5 and 995 more") as caught:
        build_manifest(ManifestFileSpec(path=path))
    assert len(str(caught.value)) < 500
