"""A small pool with two views, and its Parquet files in any cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.embedding import vector_column


def _pool_table(num_rows: int, widths: tuple[int, int] = (12, 20), seed: int = 0) -> pa.Table:
    """Twelve classes; columns of the EMBEDDING schema, and `cost`, `weight`, `camera`."""
    rng = np.random.default_rng(seed)
    latent_ND = rng.normal(size=(12, 8))[rng.integers(0, 12, num_rows)] + 0.4 * rng.normal(size=(num_rows, 8))
    video_ND, audio_ND = ((np.tanh(latent_ND) @ rng.normal(size=(8, d))).astype(np.float32) for d in widths)
    return pa.table(
        {
            "sample_id": [f"clip-{i}" for i in range(num_rows)],
            "video_embedding": vector_column(video_ND),
            "audio_embedding": vector_column(audio_ND),
            "cost": 0.5 + rng.random(num_rows),
            "weight": rng.integers(0, 5, num_rows) / 4,
            "camera": np.array(["north", "south", "west"])[rng.integers(0, 3, num_rows)],
        }
    )


def _write_shards(folder: Path, table: pa.Table, num_shards: int, row_group_size: int | None = None) -> list[str]:
    """Uneven files of shuffled rows; with many of them some are empty."""
    rng = np.random.default_rng(num_shards)
    cuts = np.sort(rng.integers(0, table.num_rows // 4, num_shards - 1))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n, rows in enumerate(np.split(rng.permutation(table.num_rows), cuts)):
        paths.append(str(folder / f"part-{n:03d}.parquet"))
        pq.write_table(table.take(rows), paths[-1], row_group_size=row_group_size)
    return paths


@pytest.fixture(scope="session")
def pool_table() -> Callable[..., pa.Table]:
    return _pool_table


@pytest.fixture(scope="session")
def write_shards() -> Callable[..., list[str]]:
    return _write_shards
