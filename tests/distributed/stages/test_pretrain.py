"""The pretrain stage on Ray Train: what is killed goes on, and ends where the undisturbed run ends."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from ray.train import ScalingConfig

from cluster.local_cluster import LOSS_SETTINGS
from mmcsal.config import RunConfig, load_config
from mmcsal.contracts.errors import MmcsalError
from mmcsal.contracts.evidence import EVIDENCE
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.distributed.cluster.errors import mmcsal_error_in
from mmcsal.distributed.cluster.retries import with_retries
from mmcsal.distributed.cluster.session import quiet_ray
from mmcsal.distributed.stages.pretrain import last_epoch, pretrain_encoders
from mmcsal.distributed.workers.trainer import checkpoints
from mmcsal.storage.rundir import RunDir
from tests.distributed.figures import figures_of_epoch
from tests.training.clips import make_clips

IDS = [f"s{i}" for i in range(40)]
SETTINGS = [
    "model.video.frame_size_px=16",
    "pretrain={epochs: 4, batch_size: 8, eval_samples: 24, decoys: {share: 0.1}}",
]


def new_run(path: Path, *overrides: str) -> tuple[RunConfig, RunDir]:
    """A run directory with clips and a manifest of two classes, and its configuration."""
    run_dir = RunDir(str(path))
    for part, ids in enumerate((IDS[:16], IDS[16:25], IDS[25:])):
        run_dir.write_part("clips", f"part-{part:05d}.parquet", make_clips(ids))
        rows = [{"sample_id": i, "source": "test", "label": f"class-{n // 2 % 2}"} for n, i in enumerate(ids)]
        run_dir.write_part("manifest", f"part-{part:05d}.parquet", pa.Table.from_pylist(rows, schema=MANIFEST))
    return load_config(None, [f"run_dir={path}", *SETTINGS, *overrides]), run_dir


def pretrain(config: RunConfig, run_dir: RunDir, losses: list[BaseException] | None = None) -> dict:
    """As the pipeline does it: what is lost is tried again, and told."""
    return with_retries(
        lambda: pretrain_encoders(config, run_dir, lambda *_: None),
        lambda: checkpoints(run_dir, "checkpoints"),
        on_retry=(losses if losses is not None else []).append,
    )


def encoders(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return torch.load(run_dir.path("checkpoints", "encoders.pt"), weights_only=True)["model"]


def evidence(run_dir: RunDir) -> list[dict]:
    return run_dir.dataset("evidence", EVIDENCE).to_table().to_pylist()


def train_workers() -> list[int]:
    """Process ids of the Ray Train workers that this process started."""

    def ancestors(pid: int) -> Iterator[int]:
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            yield pid

    found = []
    for process in Path("/proc").iterdir():
        try:
            if b"RayTrainWorker" in (process / "cmdline").read_bytes() and os.getpid() in ancestors(int(process.name)):
                found.append(int(process.name))
        except (OSError, ValueError):
            continue  # no process, or gone meanwhile
    return found


@contextmanager
def meanwhile(wait_for: Callable[[], bool], then: Callable[[], None]) -> Iterator[list[float]]:
    """Does something once a condition holds, while the block runs; the list that it gives tells when."""
    done_s: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.01):
            if wait_for():
                then()
                done_s.append(time.monotonic())
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield done_s
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def undisturbed(shared_ray, tmp_path_factory) -> tuple[dict, RunDir]:
    config, run_dir = new_run(tmp_path_factory.mktemp("runs") / "undisturbed")
    return pretrain(config, run_dir), run_dir


def test_labels_are_reported_and_prototypes_stand_beside_the_shift(undisturbed):
    receipt, run_dir = undisturbed
    epoch, figures = last_epoch(run_dir)
    assert (epoch, receipt["num_epochs"], receipt["num_clips"]) == (3, 4, 40)
    assert {"knn_joint", "nmi_joint", "linear_audio", "eval_loss", "data_wait_share", "steps_per_s"} <= figures.keys()
    rows = run_dir.read_part("metrics", "encoders.parquet").to_pylist()
    kept = {row["name"]: row["value"] for row in rows}
    assert kept["gap_shifted"] < 0.5 * kept["gap_trained"]
    assert kept["kept_epoch"] == best_epoch(run_dir)


def test_the_evidence_lies_in_parts_as_the_clips_do(undisturbed):
    run_dir = undisturbed[1]
    assert run_dir.parts("evidence") == run_dir.parts("clips")
    rows = evidence(run_dir)
    assert sorted(row["sample_id"] for row in rows) == sorted(IDS)
    decoys = [row for row in rows if row["is_decoy"]]
    assert len(decoys) == 6, "two of each partition"
    assert {row["sample_id"] for row in decoys} == {row["partner_id"] for row in decoys}
    assert all(row["num_seen"] <= 4 and row["mean_log_p"] < 0 for row in rows if row["num_seen"])
    assert sum(row["num_seen"] for row in rows) == 4 * 40


def best_epoch(run_dir: RunDir) -> int:
    rows = run_dir.dataset("metrics").to_table().to_pylist()
    losses = {row["epoch"]: row["value"] for row in rows if row["name"] == "eval_loss" and (row["epoch"] or 0) >= 0}
    return min(losses, key=losses.__getitem__)


def test_a_worker_that_dies_in_an_epoch_goes_on_from_its_last_step_and_nothing_differs(undisturbed, tmp_path):
    config, run_dir = new_run(tmp_path / "run", "pretrain.checkpoint_every_steps=2")

    def kill() -> None:
        for pid in train_workers():
            os.kill(pid, signal.SIGKILL)

    with meanwhile(lambda: any("step" in name for name in checkpoints(run_dir, "checkpoints")), kill) as killed_s:
        losses: list[BaseException] = []
        pretrain(config, run_dir, losses)
    assert killed_s, "over before the kill"
    assert len(losses) == 1
    expected, found = encoders(undisturbed[1]), encoders(run_dir)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert evidence(run_dir) == evidence(undisturbed[1])
    figures, of_undisturbed = last_epoch(run_dir)[1], last_epoch(undisturbed[1])[1]
    timed = {"steps_per_s", "data_wait_share", "measure_s"}
    assert {k: v for k, v in figures.items() if k not in timed} == {
        k: v for k, v in of_undisturbed.items() if k not in timed
    }


def test_training_stops_when_the_patience_is_spent_keeps_the_best_epoch_and_tells_what_learnt_nothing(
    shared_ray, tmp_path
):
    """No epoch is better than the first by as much as is asked for; the encoders stay as drawn: retrieval guesses."""
    patience = ["pretrain.best.min_improvement=50", "pretrain.best.patience_epochs=2"]
    config, run_dir = new_run(tmp_path / "run", *patience, "pretrain.learning_rate=1e-9")
    receipt = pretrain(config, run_dir)
    assert receipt["num_epochs"] == 3
    assert any("no better than guessing" in warning for warning in receipt["warnings"])
    rows = {row["name"]: row["value"] for row in run_dir.read_part("metrics", "encoders.parquet").to_pylist()}
    assert rows["kept_epoch"] == 0
    best = torch.load(run_dir.path("checkpoints", "best-00000.pt"), weights_only=True)["model"]
    assert all(torch.equal(encoders(run_dir)[name], best[name]) for name in best)


def test_what_is_wrong_in_a_worker_is_told_in_our_words(shared_ray, tmp_path):
    config, run_dir = new_run(tmp_path / "run", "pretrain.learning_rate=1e30", "pretrain.schedule=constant")
    with pytest.raises(Exception, match="gradient is not finite") as error:
        pretrain(config, run_dir)
    told = mmcsal_error_in(error.value)
    assert isinstance(told, MmcsalError)
    assert "lower pretrain.learning_rate" in str(told)


def test_fewer_workers_than_asked_for_train_on_when_a_node_is_lost(shared_ray, tmp_path, monkeypatch):
    """Two nodes of one CPU each; one is lost while both train, the other goes on alone from the checkpoint.

    The last of this file: it ends the session that the others share.
    """
    # A group of workers that cannot start any more is given up soon: Ray Train has this from the driver.
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    # Ray may begin with the one worker that it sees first; it then looks for a second one every two seconds.
    often = partial(ScalingConfig, elastic_resize_monitor_interval_s=2.0)
    monkeypatch.setattr("mmcsal.distributed.workers.trainer.ScalingConfig", often)
    workers = ["pretrain.num_workers=2", "pretrain.min_workers=1"]
    config, run_dir = new_run(tmp_path / "run", "pretrain.epochs=80", *workers)
    ray.shutdown()
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": LOSS_SETTINGS}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        node = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        quiet_ray()

        def both_train() -> bool:
            epoch, figures = last_epoch(run_dir)
            return epoch >= 1 and figures["num_workers"] == 2

        with meanwhile(both_train, lambda: cluster.remove_node(node, allow_graceful=False)) as lost_s:
            assert pretrain(config, run_dir)["num_epochs"] == 80
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost_s, "over before both had trained"
    epochs = [figures_of_epoch(run_dir, epoch) for epoch in range(80)]
    num_workers = [figures["num_workers"] for figures in epochs]
    # Training that had begun anew would have written all epochs again, by one worker.
    assert 2 in num_workers
    assert num_workers[-1] == 1
    assert epochs[-1]["loss"] < epochs[0]["loss"]
