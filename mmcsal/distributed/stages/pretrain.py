"""Stage 1 on Ray Train: CLIP -> trained encoders, with a checkpoint and a row of metrics each epoch."""

from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts.progress import Progress
from mmcsal.distributed.workers.pretrain import epoch_parts, train_loop
from mmcsal.distributed.workers.trainer import clip_batches, epochs_shown, figures_of_part, trainer
from mmcsal.storage.rundir import RunDir
from mmcsal.training.collapse import collapse_warnings
from mmcsal.training.state import check_micro_batches

SHOWN = ("loss", "eval_loss", "gap", "recall_at_1_video_to_audio")


def pretrain_encoders(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Trains to the last epoch, or until no better one is to be expected, from the last checkpoint if there is one.

    Raises:
        InputError: the clips are too few for the batch size or the number of workers, or micro batches do not fit the
            encoders.
    """
    # Here first: what is wrong ends the stage before Ray starts workers.
    check_micro_batches(config.pretrain, config.model)
    batches = clip_batches(config, run_dir)
    num_eval_clips = min(config.pretrain.eval_samples, batches.num_clips)

    def look() -> tuple[int, str]:
        epoch, figures = last_epoch(run_dir)
        return max(epoch + 1, 0), _note(epoch, figures, num_eval_clips)

    with epochs_shown(look, config.pretrain.epochs, progress):
        trainer(train_loop, {"config": config, "run_dir": run_dir}, config.pretrain, "checkpoints").fit()
    epoch, figures = last_epoch(run_dir)
    return {
        "num_clips": batches.num_clips,
        "num_epochs": epoch + 1,
        "warnings": collapse_warnings(figures, num_clips=num_eval_clips, epoch=epoch),
    }


def last_epoch(run_dir: RunDir) -> tuple[int, dict[str, float]]:
    """The newest epoch that has been measured (-1 = before training) and its figures; (-2, {}) before the first."""
    parts = epoch_parts(run_dir)
    if not parts:
        return -2, {}
    epoch, figures = figures_of_part(run_dir, "metrics", parts[-1])
    assert epoch is not None
    return epoch, figures


def _note(epoch: int, figures: dict[str, float], num_eval_clips: int) -> str:
    """What a reader follows from epoch to epoch, and what looks wrong."""
    shown = [f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures]
    if epoch >= 0:
        warnings = collapse_warnings(figures, num_clips=num_eval_clips, epoch=epoch)
        shown += [f"WARNING: {warning}" for warning in warnings]
    return ", ".join(shown)
