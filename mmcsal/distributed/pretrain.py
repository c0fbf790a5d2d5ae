"""Stage 1 on Ray Train: CLIP -> trained encoders, with a checkpoint and a row of metrics each epoch."""

import io
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer, get_device
from torch.nn.parallel import DistributedDataParallel

from mmcsal.config import RunConfig
from mmcsal.contracts.metric import METRIC
from mmcsal.distributed.partitions import Progress
from mmcsal.distributed.session import num_cluster_gpus
from mmcsal.rundir import RunDir
from mmcsal.training.calibrate import calibrate_norms
from mmcsal.training.data import ClipBatches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.evaluate import evaluate, measure_centroids
from mmcsal.training.state import TrainState

# Below checkpoints/: Ray Train's own folder, and the encoders that later stages read.
RAY_TRAIN_NAME = "ray_train"
STATE_FILE = "state.pt"
ENCODERS_FILE = "encoders.pt"
NUM_RESTARTS = 3
SECONDS_BETWEEN_LOOKS = 1.0


def pretrain_encoders(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Trains to the last epoch, from the last checkpoint if there is one.

    Raises: InputError: the clips are too few for the batch size or the number of workers.
    """
    # Here first: what is wrong with the clips is told before Ray starts workers.
    batches = _clip_batches(config, run_dir)
    use_gpu = num_cluster_gpus() >= config.pretrain.num_workers
    trainer = TorchTrainer(
        _train_loop,
        train_loop_config={"config": config, "run_dir": run_dir},
        scaling_config=ScalingConfig(num_workers=config.pretrain.num_workers, use_gpu=use_gpu),
        run_config=RayRunConfig(
            name=RAY_TRAIN_NAME,
            storage_path=run_dir.path("checkpoints"),
            storage_filesystem=None if run_dir.is_local else run_dir.filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=NUM_RESTARTS),
        ),
    )
    with _following_epochs(run_dir, config.pretrain.epochs, progress):
        trainer.fit()
    return {"num_clips": batches.num_clips, "num_epochs": config.pretrain.epochs}


def _train_loop(loop: dict[str, Any]) -> None:
    """One worker, from its checkpoint to the last epoch."""
    config, run_dir = loop["config"], loop["run_dir"]
    torch.set_num_threads(config.pretrain.threads_per_worker)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    batches = _clip_batches(config, run_dir)
    state = TrainState(
        config.pretrain,
        config.model,
        seed=config.seed,
        steps_per_epoch=batches.steps_per_epoch,
        device=str(get_device()),
    )
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.load_state_dict(torch.load(Path(folder) / STATE_FILE, weights_only=True))
    eval_clips = list(batches.lowest_hash(config.pretrain.eval_samples)) if rank == 0 else []
    if checkpoint is None and rank == 0:
        _write_metrics(run_dir, -1, evaluate(state, eval_clips))
    forward = DistributedDataParallel(state.module) if num_workers > 1 else None
    while not state.done:
        figures = train_epoch(state, batches, rank=rank, num_workers=num_workers, forward=forward)
        figures = _mean_over_workers(figures, num_workers)
        if rank == 0:
            calibrate_norms(state.model, eval_clips)
            figures = {_loss_name(name): value for name, value in figures.items()} | evaluate(state, eval_clips)
            _write_metrics(run_dir, state.epoch - 1, figures)
        _report(state, figures, rank)
    if rank == 0:
        measure_centroids(state, batches)
        run_dir.write_bytes(_serialized(state), "checkpoints", ENCODERS_FILE)


def _mean_over_workers(figures: dict[str, float], num_workers: int) -> dict[str, float]:
    """Each worker's figures are those of its own rows; together they are those of the whole batch."""
    if num_workers == 1:
        return figures
    sums = torch.tensor(list(figures.values()), device=get_device())
    torch.distributed.all_reduce(sums)
    return dict(zip(figures, (sums / num_workers).tolist(), strict=True))


def _report(state: TrainState, figures: dict[str, float], rank: int) -> None:
    """Hands the epoch to Ray Train; the workers hold the same state, so rank 0's is the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            (Path(folder) / STATE_FILE).write_bytes(_serialized(state))
            checkpoint = Checkpoint.from_directory(folder)
        ray.train.report(figures, checkpoint=checkpoint, checkpoint_dir_name=f"epoch-{state.epoch:05d}")


def _clip_batches(config: RunConfig, run_dir: RunDir) -> ClipBatches:
    return ClipBatches(
        run_dir.part_paths("clips"),
        run_dir.filesystem,
        config.pretrain,
        seed=config.seed,
        num_workers=config.pretrain.num_workers,
        gray=not config.model.video.needs_color,
    )


def _serialized(state: TrainState) -> bytes:
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    return buffer.getvalue()


def _loss_name(name: str) -> str:
    """`cross` -> `loss_cross`: the report draws what begins with `loss`."""
    return f"loss_{name}" if name in {"cross", "proto", "centroid"} else name


def _write_metrics(run_dir: RunDir, epoch: int, figures: dict[str, float]) -> None:
    """One file an epoch, so that an epoch that is trained again replaces its own; -1 is before training."""
    rows = [{"stage": "pretrain", "epoch": epoch, "name": k, "value": float(v)} for k, v in figures.items()]
    run_dir.write_part("metrics", f"pretrain-{epoch + 1:05d}.parquet", pa.Table.from_pylist(rows, schema=METRIC))


@contextmanager
def _following_epochs(run_dir: RunDir, num_epochs: int, progress: Progress) -> Iterator[None]:
    """Shows the epochs as their metrics appear: `fit()` blocks, and its workers cannot call the driver back."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(SECONDS_BETWEEN_LOOKS):
            parts = run_dir.parts("metrics")
            progress(max(len(parts) - 1, 0), num_epochs, _last_figures(run_dir, parts))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _last_figures(run_dir: RunDir, parts: list[str]) -> str:
    if not parts:
        return ""
    rows = run_dir.read_part("metrics", parts[-1]).to_pylist()
    figures = {row["name"]: row["value"] for row in rows}
    shown = [f"{name} {figures[name]:.3f}" for name in ("loss", "gap", "recall_at_1_video_to_audio") if name in figures]
    return ", ".join(shown)
