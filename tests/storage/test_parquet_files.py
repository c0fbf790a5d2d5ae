"""Folders of Parquet files that anybody may have written."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.storage.parquet_files import list_parquet, read_footers


def test_files_are_sorted_and_what_is_hidden_or_a_marker_is_left_out(tmp_path):
    for name in ("b.parquet", "a/z.parquet", ".half.parquet", "_meta.parquet", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": [1]}), tmp_path / name)
    filesystem, infos = list_parquet(str(tmp_path))
    assert [info.path for info in infos] == [str(tmp_path / "a/z.parquet"), str(tmp_path / "b.parquet")]
    assert [footer.num_rows for footer in read_footers([info.path for info in infos], filesystem)] == [1, 1]
    assert [info.base_name for info in list_parquet(str(tmp_path / "b.parquet"))[1]] == ["b.parquet"]


def test_what_is_not_there_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"select.earlier '.*absent' does not exist; expected .*as a selection has it"):
        list_parquet(str(tmp_path / "absent"), what="select.earlier")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"embeddings folder '.*' holds no .parquet file; expected"):
        list_parquet(str(tmp_path / "empty"))


def test_a_file_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"cut\.parquet: cannot be read as Parquet: .*; write it again"):
        read_footers([str(tmp_path / "cut.parquet")], None)
