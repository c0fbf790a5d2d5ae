"""Tables that anybody may have written: with Ray Data imported, as on every worker, none runs code."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401  registers its types
from pyarrow import fs

from mmcsal.contracts.errors import MmcsalError, TableError
from mmcsal.datasets.manifest_file import ManifestFileSpec, read_manifest_file
from mmcsal.distributed.stages.select import with_ids
from mmcsal.evaluation.joins import embedded_samples
from mmcsal.labeling.id_file import read_ids
from mmcsal.labeling.label_file import read_labels
from mmcsal.report.gather import gather
from mmcsal.report.spec import ReportSpec
from mmcsal.selection.scaleout.parquet_shards import shards_of
from mmcsal.selection.spec import SelectSpec
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.tables import check_plain, read_table, rows_of
from mmcsal.training.data.clip_file import read_columns
from tests.storage.hostile import PICKLED, write_hostile

ROW = {"sample_id": ["a"], "path": ["a.mp4"], "label": ["x"]}


def report_on(file: Path) -> None:
    """Of a run whose rejects are the file."""
    run_dir = RunDir(str(file.parent / "run"))
    picks = {"rank": [0], "sample_id": ["a"], "mass": [1.0]}
    run_dir.write_part("selection", "part-00000.parquet", pa.table(picks))
    (Path(run_dir.root) / "rejects").mkdir()
    file.rename(Path(run_dir.root) / "rejects" / "part-00000.parquet")
    gather(run_dir, ReportSpec())


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "report": ("detail", report_on),
    "tune": ("audio_embedding", lambda file: embedded_samples([str(file)], fs.LocalFileSystem(), 9)),
    "select": ("audio_embedding", lambda file: shards_of([str(file)], None, None, "")),
    "earlier": ("sample_id", lambda file: with_ids(SelectSpec(earlier=(str(file),)))),
    "labels": ("label", lambda file: read_labels(str(file))),
    "include": ("sample_id", lambda file: read_ids(str(file), key="select.include")),
    "manifest": ("path", lambda file: read_manifest_file(ManifestFileSpec(path=str(file)))),
    "clips": ("sample_id", lambda file: read_columns(str(file), fs.LocalFileSystem(), ["sample_id"])),
    "part": ("x", lambda file: read_table(str(file)).to_pylist()),
    "rows": ("x", lambda file: rows_of([str(file)], where="x").to_table().to_pylist()),
}


def test_such_a_file_runs_a_command_where_it_is_read_without_care(tmp_path):
    file = write_hostile(tmp_path / "h.parquet", tmp_path / "ran", "x", {})
    pq.read_table(file).to_pylist()
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_runs_it(tmp_path, reader):
    column, read = READERS[reader]
    others = {name: values for name, values in ROW.items() if name != column}
    file = write_hostile(tmp_path / "h.parquet", tmp_path / "ran", column, others)
    with pytest.raises(MmcsalError) as refused:
        read(file)
    assert not (tmp_path / "ran").exists()
    if reader != "earlier":  # which is cast to its schema
        assert f"{column!r} is of the extension type {PICKLED.decode()!r}" in str(refused.value)


def test_a_later_file_is_cast_to_the_types_of_the_first(tmp_path):
    pq.write_table(pa.table({"x": ["plain"]}), tmp_path / "a.parquet")
    hostile = write_hostile(tmp_path / "b.parquet", tmp_path / "ran", "x", {})
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        rows_of([str(tmp_path / "a.parquet"), str(hostile)], where=str(tmp_path)).to_table().to_pylist()
    assert not (tmp_path / "ran").exists()


def test_one_below_other_types_and_one_that_nobody_has_registered_are_found_too():
    unknown = pa.field("v", pa.string(), metadata={b"ARROW:extension:name": b"some.body"})
    for kind in (pa.list_(unknown), pa.struct([unknown]), pa.map_(pa.string(), unknown)):
        with pytest.raises(TableError, match=r"t\.parquet: column 'x' is of the extension type 'some\.body'"):
            check_plain(pa.schema([("x", kind)]), "t.parquet")
    check_plain(pa.schema([("x", pa.list_(pa.dictionary(pa.int8(), pa.string())))]), "t.parquet")


def test_a_name_of_two_columns_and_one_that_is_missing_are_told(tmp_path):
    file = str(tmp_path / "t.parquet")
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], ["x", "x"]), file)
    with pytest.raises(TableError, match="column 'x' occurs more than once"):
        read_table(file)
    pq.write_table(pa.table({"x": [1]}), file)
    with pytest.raises(TableError, match=r"t\.parquet: no columns \['y'\]; found \['x'\]"):
        read_table(file, columns=["y"])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        rows_of([file], where=file).to_table(columns=["y"])
