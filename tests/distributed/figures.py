"""What a run has measured."""

from mmcsal.rundir import RunDir


def figures_of_epoch(run_dir: RunDir, epoch: int) -> dict[str, float]:
    """The figures of one epoch by name; -1 = before training."""
    rows = run_dir.dataset("metrics").to_table().to_pylist()
    return {row["name"]: row["value"] for row in rows if row["epoch"] == epoch}
