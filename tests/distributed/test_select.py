import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from mmcsal import select_pairs
from mmcsal.contracts.embedding import embedding_schema, vector_column
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.distributed.select import select_over_ray
from mmcsal.selection import MmcsalSpec, SelectSpec

NUM_ROWS, BUDGET = 2500, 40
SCHEMA = embedding_schema({"video": 12, "audio": 20})
IDS = np.array([f"clip-{i}" for i in range(NUM_ROWS)])


@pytest.fixture(scope="module")
def ray_session():
    was_running = ray.is_initialized()
    ray.init(num_cpus=2, include_dashboard=False, ignore_reinit_error=True)
    yield
    if not was_running:
        ray.shutdown()


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(12, 8))[rng.integers(0, 12, NUM_ROWS)] + 0.4 * rng.normal(size=(NUM_ROWS, 8))
    return [(np.tanh(latent) @ rng.normal(size=(8, d))).astype(np.float32) for d in (12, 20)]


def write(folder, vectors, num_shards, *, row_group_size=None):
    """Uneven shards of shuffled rows."""
    rng = np.random.default_rng(num_shards)
    cuts = np.sort(rng.integers(0, NUM_ROWS, num_shards - 1))
    paths = []
    for n, rows in enumerate(np.split(rng.permutation(NUM_ROWS), cuts)):
        columns = [pa.array(IDS[rows], pa.string()), *(vector_column(x[rows]) for x in vectors)]
        paths.append(str(folder / f"part-{n}.parquet"))
        pq.write_table(pa.table(columns, schema=SCHEMA), paths[-1], row_group_size=row_group_size)
    return paths


@pytest.mark.cluster
@pytest.mark.parametrize("num_shards", [1, 3, 7])
@pytest.mark.parametrize("settings", [{}, {"max_cell_size": 256}, {"max_rows_per_pick": 16}])
def test_the_result_is_that_of_one_process(ray_session, tmp_path, vectors, num_shards, settings, monkeypatch):
    monkeypatch.setattr("mmcsal.selection.pipeline.MAX_BAG_ROWS", 1000)  # several bags
    spec = SelectSpec(budget=BUDGET, strategy=MmcsalSpec(**settings))
    local = select_pairs(*vectors, BUDGET, sample_ids=IDS, labeled=["clip-9"], config=spec, seed=5)
    files, steps = write(tmp_path, vectors, num_shards), []
    found = select_over_ray(
        files, spec, labeled=["clip-9"], seed=5, progress=lambda done, total: steps.append((done, total))
    )
    for name in ("table", "candidates", "represented"):
        assert getattr(found, name).equals(getattr(local, name)), name
    assert found.summary == local.summary
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))


@pytest.mark.cluster
def test_files_are_read_by_runs_of_row_groups(ray_session, tmp_path, vectors, monkeypatch):
    files, totals = write(tmp_path, vectors, 1, row_group_size=500), []
    group_bytes = pq.read_metadata(files[0]).row_group(0).total_byte_size
    monkeypatch.setattr("mmcsal.distributed.select.MAX_SHARD_BYTES", int(2.5 * group_bytes))
    uris = pa.table({"sample_id": IDS, "uri": [f"/{i}.mp4" for i in IDS]})
    found = select_over_ray(files, SelectSpec(budget=9), uris=uris, progress=lambda _, total: totals.append(total))
    assert totals[0] == 3  # five row groups, two at a time
    assert found.sample_ids == select_pairs(*vectors, 9, sample_ids=IDS).sample_ids
    assert found.table["uri"].to_pylist() == [f"/{i}.mp4" for i in found.sample_ids]


@pytest.mark.cluster
def test_wrong_files_are_told(ray_session, tmp_path, vectors):
    files, spec = write(tmp_path, vectors, 2), SelectSpec(budget=5)
    with pytest.raises(InputError, match="no Parquet files"):
        select_over_ray([], spec)
    with pytest.raises(TableError, match=r"part-0.parquet: no columns \['text_embedding'\]"):
        select_over_ray(files, spec, modalities=("video", "text"))
    copy = str(tmp_path / "copy.parquet")
    pq.write_table(pq.read_table(files[0]).slice(0, 2), copy)
    with pytest.raises(TableError, match=r"2 sample_ids occur in more than one place"):
        select_over_ray([*files, copy], spec)
    broken = vectors[0].copy()
    broken[7] = np.nan
    with pytest.raises(TableError, match=r"part-0.parquet: 1 of .*'video_embedding'.*\['clip-7'\]"):
        select_over_ray(write(tmp_path, [broken, vectors[1]], 1), spec)
