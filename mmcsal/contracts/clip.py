"""CLIP: the decoded, fixed-shape tensors of a sample, and facts about its source.

Tensors are fixed-size binary (uint8 frames, int16 sound), their shape and dtype in the field's metadata:
Parquet stores them byte for byte, where a list of uint8 would take four bytes and two levels an element.
"""

import numpy as np
import pyarrow as pa


def clip_schema(
    *, num_frames: int, frame_size_px: int, num_audio_samples: int, sample_rate_hz: int = 16_000
) -> pa.Schema:
    """The CLIP schema for one clip shape: frames uint8 [T, H, W, 3], sound int16 [L] at `sample_rate_hz`."""
    video_shape = (num_frames, frame_size_px, frame_size_px, 3)
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            _tensor_field("video", video_shape, np.uint8),
            _tensor_field("audio", (num_audio_samples,), np.int16, sample_rate_hz=str(sample_rate_hz)),
            pa.field("duration_s", pa.float64(), nullable=False),  # of the sample, before windowing
            pa.field("source_width_px", pa.int32(), nullable=False),
            pa.field("source_height_px", pa.int32(), nullable=False),
            pa.field("source_frame_rate_hz", pa.float64(), nullable=False),
            pa.field("source_sample_rate_hz", pa.int32(), nullable=False),
        ]
    )


def tensor_column(array: np.ndarray) -> pa.Array:
    """The rows of `array` [N, ...] as fixed-size binary, without a copy where memory allows."""
    rows = np.ascontiguousarray(array)
    row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    return pa.Array.from_buffers(pa.binary(row_bytes), len(rows), [None, pa.py_buffer(rows)])


def read_tensor(table: pa.Table, name: str) -> np.ndarray:
    """A tensor column as an array [N, ...] of the shape and dtype in its field's metadata (read-only view)."""
    field = table.schema.field(name)
    shape = tuple(int(n) for n in field.metadata[b"shape"].decode().split(","))
    column = table[name].combine_chunks()
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    flat = np.frombuffer(chunk.buffers()[1], dtype=field.metadata[b"dtype"].decode())
    row_size = int(np.prod(shape))
    return flat[chunk.offset * row_size :][: len(chunk) * row_size].reshape(len(chunk), *shape)


def _tensor_field(name: str, shape: tuple[int, ...], dtype: type, **facts: str) -> pa.Field:
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    metadata = {"shape": ",".join(map(str, shape)), "dtype": np.dtype(dtype).name, **facts}
    return pa.field(name, pa.binary(num_bytes), nullable=False, metadata=metadata)
