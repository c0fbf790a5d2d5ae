"""Shards of Parquet files: every row once, no row group split, and errors that name the file."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.embedding import vector_column
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection.scaleout import parquet_shards
from mmcsal.selection.scaleout.parquet_shards import shards_of

WIDTHS = {"video": 4, "audio": 3}


def write(path, first: int, num_rows: int, row_group_size: int) -> str:
    rng = np.random.default_rng(first)
    columns = {"sample_id": [f"s{n:03d}" for n in range(first, first + num_rows)]}
    for modality, width in WIDTHS.items():
        columns[f"{modality}_embedding"] = vector_column(rng.standard_normal((num_rows, width), dtype=np.float32))
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return str(path)


@pytest.fixture
def files(tmp_path) -> list[str]:
    return [write(tmp_path / f"part-{n}.parquet", 100 * n, num_rows=10 * (n + 1), row_group_size=5) for n in range(3)]


def ids_of(shards) -> list[list[str]]:
    return [[i for part in shard for i in part.read().ids.to_pylist()] for shard in shards]


def test_small_files_share_a_shard_and_large_ones_are_cut_between_row_groups(files, monkeypatch):
    (together,) = ids_of(shards_of(files, None, None, "salt"))
    assert len(together) == len(set(together)) == 60
    monkeypatch.setattr(parquet_shards, "MIN_SHARD_BYTES", 1)
    monkeypatch.setattr(parquet_shards, "NUM_SHARDS", 10**9)  # every row group by itself
    apart = ids_of(shards_of(files, None, None, "salt"))
    assert [len(ids) for ids in apart] == [5] * 12
    assert [i for ids in apart for i in ids] == together


def test_parts_travel_to_a_task_and_read_the_modalities_that_are_paired(files):
    ((part, *_),) = shards_of(files, None, ("audio", "video"), "salt")
    shard = pickle.loads(pickle.dumps(part)).read()
    table = pq.read_table(files[0])
    assert np.array_equal(shard.a_ND, np.array(table["audio_embedding"].to_pylist(), np.float32))
    assert np.array_equal(shard.v_ND, np.array(table["video_embedding"].to_pylist(), np.float32))


def test_a_row_without_a_vector_keeps_its_place(tmp_path):
    kind = pa.list_(pa.float32(), 2)
    columns = {
        "sample_id": ["a", "b", "c"],
        "video_embedding": pa.array([[1.0, 0.0], None, [0.0, 1.0]], kind),
        "audio_embedding": pa.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], kind),
    }
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    ((part,),) = shards_of([str(tmp_path / "e.parquet")], None, ("video", "audio"), "salt")
    shard = part.read()
    assert shard.a_ND.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert shard.v_ND.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert [missing_N.tolist() for missing_N in shard.is_missing_2N] == [[False, True, False], [False] * 3]


def test_what_is_wrong_names_the_file(files, tmp_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(TableError, match=r"damaged\.parquet: cannot be read as Parquet"):
        shards_of([*files, str(damaged)], None, None, "salt")
    pq.write_table(pq.read_table(files[0]).drop_columns("audio_embedding"), tmp_path / "narrow.parquet")
    with pytest.raises(InputError, match=r"narrow\.parquet: modalities \['video'\]; expected two"):
        shards_of([str(tmp_path / "narrow.parquet")], None, None, "salt")
    ((*_, part),) = shards_of([*files, str(tmp_path / "narrow.parquet")], None, None, "salt")
    with pytest.raises(TableError, match=r"narrow\.parquet: no columns \['audio_embedding'\]"):
        part.read()
