"""Where training stands in its epochs and steps."""

from typing import Any

import torch


class Position:
    """Epochs and steps done, and the figures of the epoch so far; the base of whatever is trained.

    No random generator is kept: whatever is drawn follows from (seed, epoch, step).
    """

    def __init__(self, *, seed: int, steps_per_epoch: int, device: str = "cpu"):
        """Before the first step.

        Args:
            steps_per_epoch: `ClipBatches.steps_per_epoch`.
        """
        self.seed, self.steps_per_epoch = seed, steps_per_epoch
        self.device = torch.device(device)
        self.epoch = 0  # epochs finished
        self.step_in_epoch = 0  # steps finished of the one under way
        self.sums: dict[str, float] = {}  # of the figures of the epoch's steps so far

    def advance(self, figures: dict[str, float]) -> None:
        """Counts one finished step and adds its figures up; after the last step of an epoch, counts the epoch."""
        before = self.sums if self.step_in_epoch else {}
        self.sums = {name: before.get(name, 0.0) + value for name, value in figures.items()}
        self.step_in_epoch += 1
        if self.step_in_epoch == self.steps_per_epoch:
            self.epoch, self.step_in_epoch = self.epoch + 1, 0

    def position_dict(self) -> dict[str, Any]:
        """For a checkpoint, see `load_position`."""
        return {"epoch": self.epoch, "step_in_epoch": self.step_in_epoch, "sums": self.sums}

    def load_position(self, checkpoint: dict[str, Any]) -> None:
        """Goes on where `checkpoint` was taken."""
        self.epoch, self.step_in_epoch, self.sums = (checkpoint[k] for k in ("epoch", "step_in_epoch", "sums"))
