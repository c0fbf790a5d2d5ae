import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import torch

from mmcsal.contracts.clip import clip_schema, tensor_column

torch.set_num_threads(1)  # threads that wait for each other on a busy machine cost more than they bring

SHAPE = {"num_frames": 4, "frame_size_px": 16, "num_audio_samples": 4096}


def make_clips(sample_ids: list[str]) -> pa.Table:
    """Clips whose content follows from their id; the id's number is in the first pixel and the first sample."""
    numbers = [int(s[1:]) for s in sample_ids]
    frames = (SHAPE["num_frames"], SHAPE["frame_size_px"], SHAPE["frame_size_px"], 3)
    video = np.stack([np.random.default_rng(n).integers(0, 256, frames, dtype=np.uint8) for n in numbers])
    audio = np.stack([np.random.default_rng(n).integers(-9999, 9999, 4096, dtype=np.int16) for n in numbers])
    video[:, 0, 0, 0, :] = np.array(numbers)[:, None]
    audio[:, 0] = numbers
    count = len(numbers)
    columns = [
        pa.array(sample_ids),
        tensor_column(video),
        tensor_column(audio),
        pa.array([2.0] * count),
        pa.array([16] * count, pa.int32()),
        pa.array([16] * count, pa.int32()),
        pa.array([2.0] * count),
        pa.array([16000] * count, pa.int32()),
    ]
    return pa.Table.from_arrays(columns, schema=clip_schema(**SHAPE))


@pytest.fixture
def filesystem():
    return pyarrow.fs.LocalFileSystem()


@pytest.fixture
def clip_table():
    """A CLIP table of the given ids."""
    return make_clips


@pytest.fixture
def clip_files(tmp_path):
    """Writes partitions of the given ids, returns their paths."""

    def write(partitions: list[list[str]], folder: str = "clips", names: list[str] | None = None) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = []
        for i, ids in enumerate(partitions):
            path = tmp_path / folder / (names[i] if names else f"part-{i}.parquet")
            pq.write_table(make_clips(ids) if ids else make_clips(["s0"]).slice(0, 0), path)
            paths.append(str(path))
        return paths

    return write
