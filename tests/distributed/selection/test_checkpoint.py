"""A selection that is killed while its cells propose goes on with the buckets that are missing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from mmcsal.contracts.embedding import read_vectors
from mmcsal.selection import MmcsalSpec, SelectSpec, select_pairs
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S

NUM_ROWS, BUDGET, BUCKET_ROWS = 6000, 60, 40
# The command with small buckets; what it keeps of them is copied, with the times of the files, before it is removed.
COMMAND = f"""
import shutil
from mmcsal.cli import main
from mmcsal.distributed.selection.checkpoint import FOLDER, Store
from mmcsal.selection.scaleout import cell_tree

clear = Store.clear

def copy_and_clear(store):
    shutil.copytree(store.run_dir.path(FOLDER), store.run_dir.path("copied-buckets"))
    clear(store)

Store.clear = copy_and_clear
cell_tree.MAX_BUCKET_ROWS = {BUCKET_ROWS}
main()
"""


def start(embeddings: Path, out: Path, hash_seed: int) -> subprocess.Popen:
    arguments = ["select", "--embeddings", str(embeddings), "--budget", str(BUDGET), "--out", str(out)]
    settings = ["select.strategy.max_cell_size=256", "select.tempering=0.5", "cluster.num_cpus=1"]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
    )


def times_ns(folder: Path) -> dict[str, int]:
    """Of the buckets that are whole; names with a digest, so buckets of other settings would show."""
    paths = folder.glob("*/bucket-*.parquet")
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in paths}


@pytest.mark.cluster
def test_buckets_that_are_done_are_not_solved_again(tmp_path, pool_table, write_shards, monkeypatch):
    pool = pool_table(NUM_ROWS).select(["sample_id", "video_embedding", "audio_embedding"])
    write_shards(tmp_path / "embeddings", pool, 3)
    out = RunDir(str(tmp_path / "out"))
    buckets = tmp_path / "out" / ".select-buckets"

    process = start(tmp_path / "embeddings", tmp_path / "out", hash_seed=1)
    deadline = time.monotonic() + TIME_LIMIT_S
    while len(times_ns(buckets)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert out.committed("selection") is None, "over before the kill"
    done, before = times_ns(buckets), {}
    while done != before:  # tasks that were under way may still end
        time.sleep(0.5)
        done, before = times_ns(buckets), done
    assert len(done) >= 3, output

    process = start(tmp_path / "embeddings", tmp_path / "out", hash_seed=2)
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == 0, output
    copied = times_ns(tmp_path / "out" / "copied-buckets")
    assert len(copied) > len(done), "killed too late: all buckets were there"
    assert {name: copied[name] for name in done} == done
    assert len({name.split("/")[0] for name in copied}) == 1
    assert not buckets.exists()

    monkeypatch.setattr("mmcsal.selection.scaleout.cell_tree.MAX_BUCKET_ROWS", BUCKET_ROWS)
    undisturbed = in_process(pool)
    assert undisturbed.table.equals(out.dataset("selection").to_table())
    assert undisturbed.candidates.equals(out.dataset("candidates").to_table())
    assert json.loads(json.dumps(undisturbed.summary)) == (out.committed("selection") or {})["summary"]


def in_process(pool: pa.Table):
    spec = SelectSpec(budget=BUDGET, strategy=MmcsalSpec(max_cell_size=256), tempering=0.5)
    vectors = [read_vectors(pool, modality) for modality in ("video", "audio")]
    return select_pairs(*vectors, BUDGET, sample_ids=pool["sample_id"].to_pylist(), config=spec)
