"""What a run has measured, and where it stands."""

from mmcsal.distributed.workers.trainer import RAY_TRAIN_NAME
from mmcsal.storage.rundir import RunDir

SNAPSHOT = "checkpoint_manager_snapshot.json"  # Ray Train writes it when it has taken a checkpoint in


def figures_of_epoch(run_dir: RunDir, epoch: int) -> dict[str, float]:
    """The figures of one epoch by name; -1 = before training."""
    rows = run_dir.dataset("metrics").to_table().to_pylist()
    return {row["name"]: row["value"] for row in rows if row["epoch"] == epoch}


def has_checkpoint(run_dir: RunDir, folder: str) -> bool:
    """Whether a driver that is killed now would go on from a checkpoint of Ray Train."""
    return run_dir.exists(folder, RAY_TRAIN_NAME, SNAPSHOT)
