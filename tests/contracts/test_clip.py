import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmcsal.contracts.clip import clip_schema, read_tensor, tensor_column


def clips(num: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (num, 3, 4, 4, 3), dtype=np.uint8)
    audio = rng.integers(-(2**15), 2**15, (num, 10), dtype=np.int16)
    schema = clip_schema(num_frames=3, frame_size_px=4, num_audio_samples=10, sample_rate_hz=8000)
    table = pa.table({"video": tensor_column(video), "audio": tensor_column(audio)})
    return table.cast(pa.schema([schema.field("video"), schema.field("audio")])), video, audio


def test_tensors_survive_parquet_bit_by_bit(tmp_path):
    table, video, audio = clips(7)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    read = pq.read_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(read_tensor(read, "video"), video)
    np.testing.assert_array_equal(read_tensor(read, "audio"), audio)


def test_slices_and_chunks_are_read_from_where_they_begin():
    table, video, _ = clips(7)
    np.testing.assert_array_equal(read_tensor(table.slice(2, 3), "video"), video[2:5])
    both = pa.concat_tables([table.slice(5), table.slice(0, 1)])
    np.testing.assert_array_equal(read_tensor(both, "video"), video[[5, 6, 0]])


def test_the_file_tells_its_shapes_and_rate(tmp_path):
    table, _, _ = clips(1)
    pq.write_table(table, tmp_path / "t.parquet")
    schema = pq.read_schema(tmp_path / "t.parquet")
    assert schema.field("video").metadata[b"shape"] == b"3,4,4,3"
    assert schema.field("audio").metadata[b"sample_rate_hz"] == b"8000"
