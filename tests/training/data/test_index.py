import re

import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.errors import TableError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.training.data.index import read_index

PARTITIONS = [["s4", "s1", "s3"], ["s7", "s5"], [], ["s2", "s6"]]


def test_clips_are_in_the_order_of_their_ids_and_partitions_in_that_of_their_first(clip_files, filesystem):
    files = clip_files(PARTITIONS)
    for listed in (files, files[::-1]):
        index = read_index(listed, filesystem)
        assert [list(p.sample_id_N) for p in index.partitions] == [["s1", "s3", "s4"], ["s2", "s6"], ["s5", "s7"]]
        assert [p.path for p in index.partitions] == [files[0], files[3], files[1]]
        assert [p.row_N.tolist() for p in index.partitions] == [[1, 2, 0], [0, 1], [1, 0]]
        assert (index.num_clips, index.sizes) == (7, [3, 2, 2])
        assert index.clip_bytes == 4 * 16 * 16 * 3 + 2 * 4096


def test_partitions_come_by_the_hash_of_their_first_id_and_clips_by_their_own(clip_files, filesystem):
    index = read_index(clip_files(PARTITIONS), filesystem)
    whole = [list(p.sample_id_N) for p in index.partitions]
    expected = [whole[p][i] for p in order_by_hash(ids[0] for ids in whole) for i in order_by_hash(whole[p])]
    assert index.sample_id_N[index.by_hash_N].tolist() == expected
    assert expected != sorted(expected)


def test_of_some_clips_only_these_are_indexed(clip_files, filesystem):
    index = read_index(clip_files(PARTITIONS), filesystem, ["s3", "s4", "s6", "s99"])
    assert [list(p.sample_id_N) for p in index.partitions] == [["s3", "s4"], ["s6"]]
    assert [p.row_N.tolist() for p in index.partitions] == [[2, 0], [1]]


def test_wanted_clips_are_found_in_each_partition(clip_files, filesystem):
    index = read_index(clip_files(PARTITIONS), filesystem)
    found = index.where(index.sample_id_N > "s3")
    assert [places.tolist() for places in found] == [[2], [1], [0, 1]]


def test_no_files_are_no_clips(filesystem):
    index = read_index([], filesystem)
    assert (index.num_clips, len(index.sample_id_N), len(index.by_hash_N)) == (0, 0, 0)


def test_other_tables_and_mixed_shapes_are_refused(clip_files, filesystem, tmp_path):
    (path,) = clip_files(PARTITIONS[:1])
    other = str(tmp_path / "other.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["audio"]), other)
    with pytest.raises(TableError, match=re.escape(other)):
        read_index([path, other], filesystem)
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "video", table["video"].cast("binary")), other)
    with pytest.raises(TableError, match="fixed-size binary"):
        read_index([path, other], filesystem)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(TableError, match=r"broken\.parquet"):
        read_index([str(tmp_path / "broken.parquet")], filesystem)
    pq.write_table(table.slice(0, 2).set_column(1, "video", table["audio"].slice(0, 2)), other)
    with pytest.raises(TableError, match="different clip shapes"):
        read_index([path, other], filesystem)
