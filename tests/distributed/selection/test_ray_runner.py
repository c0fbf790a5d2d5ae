"""Selection on Ray is that of one process, bit for bit, and the driver sees no embeddings but samples."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from threadpoolctl import threadpool_info

from mmcsal import select_pairs
from mmcsal.contracts.embedding import read_vectors
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.distributed.selection.checkpoint import digest
from mmcsal.distributed.selection.ray_runner import select_over_ray
from mmcsal.selection import MmcsalSpec, SelectSpec
from mmcsal.selection.scaleout.cell_tree import MAX_BUCKET_ROWS, MAX_BUCKETS
from mmcsal.selection.scaleout.parquet_shards import shard_bytes
from mmcsal.selection.spec import Quota, Rho, TotalCost

NUM_ROWS, BUDGET = 2500, 40
CELLS = MmcsalSpec(max_cell_size=256)
QUOTAS = (Quota(column="camera", value="north", min=20), Quota(column="camera", value="west", max=5))
WISHES = {"include": ("clip-3", "clip-1000"), "exclude": ("clip-5", "clip-6"), "quotas": QUOTAS, "tempering": 0.5}
SPECS = {
    "one cell": SelectSpec(budget=BUDGET),
    "cells": SelectSpec(budget=BUDGET, strategy=CELLS, lambda_div=0.2),
    "exchange": SelectSpec(budget=BUDGET, strategy=MmcsalSpec(max_rows_per_pick=16)),
    "costs, quotas, include, exclude": SelectSpec(budget=TotalCost(cost=30), strategy=CELLS, **WISHES),
    "discount": SelectSpec(budget=0.02, strategy=CELLS, align_form="discount", **WISHES),
    "separate": SelectSpec(budget=BUDGET, strategy=CELLS, coverage="separate"),
    "mixed, exchange": SelectSpec(
        budget=BUDGET,
        strategy=MmcsalSpec(max_rows_per_pick=16),
        coverage=Rho(rho=0.5),
        modality_weights={"video": 1, "audio": 0.3},
    ),
    "regions": SelectSpec(budget=BUDGET, strategy=CELLS, **WISHES),
}


@pytest.fixture(scope="module", params=[(2, 1), (1, 2)], ids=["2 CPUs", "1 CPU, 2 BLAS threads"])
def ray_session(request, own_ray):
    """Both sessions run all tests of this file, so that neither the CPUs nor the threads of a task can matter."""
    num_cpus, num_threads = request.param
    threads = {name: str(num_threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    ray.init(
        "local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": threads}
    )
    yield num_threads
    ray.shutdown()


@pytest.fixture(scope="module")
def pool(pool_table):
    return pool_table(NUM_ROWS)


@ray.remote
def num_blas_threads():
    np.ones((8, 8)) @ np.ones((8, 8))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def in_process(pool: pa.Table, spec: SelectSpec, **arguments):
    vectors = [read_vectors(pool, modality) for modality in ("video", "audio")]
    ids, names = pool["sample_id"].to_pylist(), ("video", "audio")
    return select_pairs(*vectors, spec.budget, sample_ids=ids, config=spec, modalities=names, **arguments)


def test_tasks_have_the_threads_that_the_session_gives_them(ray_session):
    assert ray.get(num_blas_threads.remote()) == {ray_session}


@pytest.mark.parametrize("name", SPECS)
def test_the_result_is_that_of_one_process(ray_session, tmp_path, pool, name, write_shards, monkeypatch):
    monkeypatch.setattr("mmcsal.selection.scaleout.cell_tree.MAX_BUCKET_ROWS", 500)  # several buckets
    monkeypatch.setattr("mmcsal.selection.scaleout.parquet_shards.MAX_SHARD_BYTES", 1)  # every row group is a shard
    if name == "regions":
        monkeypatch.setattr("mmcsal.selection.scaleout.allocation.MAX_SUBPROBLEM_ROWS", 1000)
    spec, given, columns = SPECS[name], {}, None
    if spec.quotas:
        given = {
            "weights": pool["weight"].to_numpy(),
            "columns": {"camera": pool["camera"].to_pylist()},
            "costs": pool["cost"].to_numpy() if isinstance(spec.budget, TotalCost) else None,
        }
        columns = pool.select(["sample_id", "cost", "weight", "camera"])
    local = in_process(pool, spec, labeled=["clip-9"], seed=5, **given)
    for num_shards in (1, 4, 64):
        files, steps = write_shards(tmp_path / str(num_shards), pool, num_shards, row_group_size=700), []
        found = select_over_ray(
            files,
            spec,
            labeled=["clip-9"],
            columns=columns,
            seed=5,
            progress=lambda done, total, steps=steps: steps.append((done, total)),
        )
        for table in ("table", "candidates", "represented", "rejects"):
            assert getattr(found, table).equals(getattr(local, table)), (num_shards, table)
        assert found.summary == local.summary
        assert steps[-1][0] == steps[-1][1]
        assert [done for done, _ in steps] == list(range(1, len(steps) + 1))


def test_rejected_rows_are_those_of_one_process(ray_session, tmp_path, pool, write_shards):
    broken = read_vectors(pool, "video").copy()
    broken[7], broken[8] = np.nan, 0
    flat = pa.FixedSizeListArray.from_arrays(pa.array(broken.reshape(-1)), broken.shape[1])
    pool = pool.set_column(1, "video_embedding", flat)
    spec = SelectSpec(budget=BUDGET, bad_rows="reject")
    found, local = select_over_ray(write_shards(tmp_path, pool, 4), spec), in_process(pool, spec)
    assert found.table.equals(local.table)
    assert found.summary == local.summary
    rejects = [sorted(s.rejects.select(["sample_id", "reason"]).to_pylist(), key=str) for s in (found, local)]
    assert rejects[0] == rejects[1]
    assert [row["reason"] for row in rejects[0]] == ["not_finite", "zero_vector"]


def test_files_are_read_by_runs_of_row_groups(ray_session, tmp_path, pool, write_shards, monkeypatch):
    files, totals = write_shards(tmp_path, pool, 1, row_group_size=500), []
    group_bytes = pq.read_metadata(files[0]).row_group(0).total_byte_size
    monkeypatch.setattr("mmcsal.selection.scaleout.parquet_shards.MAX_SHARD_BYTES", int(2.5 * group_bytes))
    uris = pa.table({"sample_id": pool["sample_id"], "uri": [f"/{i}.mp4" for i in pool["sample_id"].to_pylist()]})
    found = select_over_ray(files, SelectSpec(budget=9), uris=uris, progress=lambda _, total: totals.append(total))
    assert totals[0] == 3  # five row groups, two at a time
    assert found.sample_ids == in_process(pool, SelectSpec(budget=9)).sample_ids
    assert found.table["uri"].to_pylist() == [f"/{i}.mp4" for i in found.sample_ids]


def test_small_files_share_a_task(ray_session, tmp_path, pool, write_shards):
    files, totals = write_shards(tmp_path, pool, 64), []
    found = select_over_ray(files, SelectSpec(budget=9), progress=lambda _, total: totals.append(total))
    assert totals[0] == 1
    assert found.table.equals(in_process(pool, SelectSpec(budget=9)).table)


@pytest.mark.parametrize("total_gb", [0.1, 0.5, 2, 8, 30, 100, 400])
def test_pieces_of_bags_are_too_large_to_be_handed_to_the_driver(total_gb):
    row_bytes = 2 * 128 * 4
    num_rows = total_gb * 1e9 / row_bytes
    num_buckets = min(max(num_rows / MAX_BUCKET_ROWS, 1), MAX_BUCKETS)
    assert shard_bytes(int(total_gb * 1e9)) / 2 / num_buckets > 100 * 1024  # int16 of float32; Ray's limit


def test_wrong_files_are_told(ray_session, tmp_path, pool, write_shards):
    files, spec = write_shards(tmp_path, pool, 2), SelectSpec(budget=5)
    with pytest.raises(InputError, match="no Parquet files"):
        select_over_ray([], spec)
    with pytest.raises(TableError, match=r"part-000.parquet: no columns \['text_embedding'\]"):
        select_over_ray(files, spec, modalities=("video", "text"))
    copy = str(tmp_path / "copy.parquet")
    pq.write_table(pq.read_table(files[0]).slice(0, 2), copy)
    with pytest.raises(TableError, match=r"2 sample_ids occur in more than one place"):
        select_over_ray([*files, copy], spec)


def test_the_driver_gets_no_embeddings_but_samples(ray_session, tmp_path, pool_table, write_shards, monkeypatch):
    num_rows, num_sampled, width = 20_000, 2048, 512
    monkeypatch.setattr("mmcsal.selection.planning.MAX_TRAIN_ROWS", num_sampled)
    get, sizes = ray.get, []

    def measured(refs):
        results = get(refs)
        sizes.append(len(pickle.dumps(results, protocol=5)))
        return results

    monkeypatch.setattr("mmcsal.distributed.selection.ray_runner.ray.get", measured)
    found = select_over_ray(
        write_shards(tmp_path, pool_table(num_rows, (width // 2, width // 2)), 4), SelectSpec(budget=50)
    )
    vectors = 2 * width * (num_sampled + found.summary["num_shortlisted"])
    assert found.summary["num_pool"] == num_rows
    assert vectors < sum(sizes) < vectors + 150 * num_rows < 2 * width * num_rows


def test_a_digest_is_that_of_the_values_and_not_of_the_objects():
    spec, table = SelectSpec(budget=3, tempering=0.5), np.arange(6).reshape(2, 3)
    told = digest((spec, table, "a", None, 1))
    assert told == digest((SelectSpec.model_validate(spec.model_dump()), np.asfortranarray(table), "a", None, 1))
    others = [
        (SelectSpec(budget=4, tempering=0.5), table, "a", None, 1),
        (spec, table.reshape(3, 2), "a", None, 1),
        (spec, table.astype(np.int32), "a", None, 1),
        (spec, table, "a", None, 1.0),
        (spec, table, "a1", None),
    ]
    assert len({told, *map(digest, others)}) == 6
