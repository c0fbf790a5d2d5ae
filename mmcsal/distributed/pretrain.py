"""Stage 1 on Ray Train: CLIP -> trained encoders, with a checkpoint and a row of metrics each epoch."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer

from mmcsal.config import RunConfig
from mmcsal.distributed.partitions import Progress
from mmcsal.distributed.pretrain_worker import clip_batches, epoch_parts, train_loop
from mmcsal.distributed.resources import ask_of, capacity
from mmcsal.rundir import RunDir
from mmcsal.training.collapse import collapse_warnings
from mmcsal.training.state import check_micro_batches

RAY_TRAIN_NAME = "ray_train"  # Ray Train's own folder below checkpoints/
SECONDS_BETWEEN_LOOKS = 1.0
SHOWN = ("loss", "eval_loss", "gap", "recall_at_1_video_to_audio")


def pretrain_encoders(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Trains to the last epoch, or until no better one is to be expected, from the last checkpoint if there is one.

    Raises: InputError: the clips are too few for the batch size or the number of workers, or micro batches do not fit
        the encoders.
    """
    # Here first: what is wrong is told before Ray starts workers.
    check_micro_batches(config.pretrain, config.model)
    batches = clip_batches(config, run_dir)
    num_eval_clips = min(config.pretrain.eval_samples, batches.num_clips)
    with _following_epochs(run_dir, config.pretrain.epochs, num_eval_clips, progress):
        _trainer(config, run_dir).fit()
    epoch, figures = last_epoch(run_dir)
    return {
        "num_clips": batches.num_clips,
        "num_epochs": epoch + 1,
        "warnings": collapse_warnings(figures, num_clips=num_eval_clips, epoch=epoch),
    }


def _trainer(config: RunConfig, run_dir: RunDir) -> TorchTrainer:
    spec = config.pretrain
    return TorchTrainer(
        train_loop,
        train_loop_config={"config": config, "run_dir": run_dir},
        scaling_config=ScalingConfig(
            num_workers=(spec.min_workers, spec.num_workers) if spec.min_workers else spec.num_workers,
            use_gpu=ask_of("pretrain", config, capacity(config.cluster)).use_gpu,
        ),
        run_config=RayRunConfig(
            name=RAY_TRAIN_NAME,
            storage_path=run_dir.place("checkpoints"),  # of this attempt: a resume sweeps away all others
            storage_filesystem=None if run_dir.is_local else run_dir.filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            # Ray's own limit counts the failures of a whole run; see `recover.with_retries`.
            failure_config=FailureConfig(max_failures=0),
        ),
    )


def checkpoints(run_dir: RunDir) -> list[str]:
    """Names of Ray Train's checkpoints: what a new try goes on from."""
    return run_dir.folders("checkpoints", RAY_TRAIN_NAME)


def last_epoch(run_dir: RunDir) -> tuple[int, dict[str, float]]:
    """The newest epoch that has been measured (-1 = before training) and its figures; (-2, {}) before the first."""
    parts = epoch_parts(run_dir)
    if not parts:
        return -2, {}
    rows = run_dir.read_part("metrics", parts[-1]).to_pylist()
    return rows[0]["epoch"], {row["name"]: row["value"] for row in rows}


@contextmanager
def _following_epochs(run_dir: RunDir, num_epochs: int, num_eval_clips: int, progress: Progress) -> Iterator[None]:
    """Shows the epochs as their metrics appear: `fit()` blocks, and its workers cannot call the driver back."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(SECONDS_BETWEEN_LOOKS):
            epoch, figures = last_epoch(run_dir)
            progress(max(epoch + 1, 0), num_epochs, _note(epoch, figures, num_eval_clips))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _note(epoch: int, figures: dict[str, float], num_eval_clips: int) -> str:
    """What a reader follows from epoch to epoch, and what looks wrong."""
    shown = [f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures]
    if epoch >= 0:
        warnings = collapse_warnings(figures, num_clips=num_eval_clips, epoch=epoch)
        shown += [f"WARNING: {warning}" for warning in warnings]
    return ", ".join(shown)
