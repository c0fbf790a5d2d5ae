"""Labels as annotators hand them in."""

import gzip

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.labeling.label_file import labels_of, read_labels
from mmcsal.storage.tables import Rows
from tests.storage.hostile import write_hostile


def rows_of(table: pa.Table) -> list[dict]:
    return sorted(table.to_pylist(), key=lambda row: row["sample_id"])


def test_ids_and_labels_are_text_and_what_several_annotators_agree_on_is_one_row(tmp_path):
    (tmp_path / "labels.csv").write_text("sample_id,kind,ok\n007,1,true\n007,1,true\nb,2,false\n")
    table = read_labels(str(tmp_path / "labels.csv"), label="kind", aligned="ok")
    assert rows_of(table) == [
        {"sample_id": "007", "label": "1", "aligned": True},
        {"sample_id": "b", "label": "2", "aligned": False},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sample_id,label\na,x\na,y\n", r"1 samples of .* have labels that differ, first \['a'\]"),
        ("sample_id,kind\na,x\n", "has no column 'label'; .* or set finetune.label_column"),
    ],
)
def test_what_is_wrong_names_the_key(tmp_path, content, message):
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_labels(str(tmp_path / "labels.csv"), section="finetune")


@pytest.mark.parametrize("name", ["cut.parquet", "zipped.csv", "pickled.parquet"])
def test_a_file_that_cannot_be_read_names_the_key(tmp_path, name):
    path = tmp_path / name
    match name:
        case "cut.parquet":
            path.write_bytes(b"PAR1")
        case "zipped.csv":
            path.write_bytes(gzip.compress(b"sample_id,label\n"))
        case "pickled.parquet":
            write_hostile(path, tmp_path / "trace", "label", {"sample_id": ["a"]})
    with pytest.raises(InputError, match=r"^labels: .* cannot be read: .*; give a \.csv or \.parquet file with"):
        read_labels(str(path))
    assert not (tmp_path / "trace").exists()


def test_without_a_file_the_manifest_has_the_labels(tmp_path):
    manifest = Rows(ds.dataset(pa.table({"sample_id": ["a"], "label": ["x"], "uri": ["a.mp4"]})), "the manifest")
    columns = {"label": "label", "aligned": "aligned", "section": "evaluate"}
    table, where = labels_of(None, None, **columns, manifest=lambda: manifest)
    assert (table.to_pylist(), where) == (
        [{"sample_id": "a", "label": "x"}],
        "the manifest (evaluate.labels names a file)",
    )
    path = tmp_path / "labels.csv"
    path.write_text("sample_id,label\nb,y\n")
    table, where = labels_of(str(path), None, **columns, manifest=lambda: pytest.fail("the file counts"))
    assert (table["label"].to_pylist(), where) == (["y"], repr(str(path)))
