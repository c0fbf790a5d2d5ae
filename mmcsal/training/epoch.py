"""One pass over the corpus."""

from collections.abc import Callable
from typing import Any

from mmcsal.training.data import ClipBatches
from mmcsal.training.state import TrainState
from mmcsal.training.step import train_step


def train_epoch(
    state: TrainState,
    batches: ClipBatches,
    *,
    rank: int = 0,
    num_workers: int = 1,
    forward: Callable[..., Any] | None = None,
    on_step: Callable[[TrainState, dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Trains to the end of the epoch that the state stands in, from where it stands.

    Args:
        forward: `state.module` wrapped for several workers; None = unwrapped.
        on_step: called after each step with the state and the figures of the step.
    Returns: the figures of `train_step`, averaged over the steps done here.
    """
    sums: dict[str, float] = {}
    num_steps = 0
    for batch in batches.epoch(state.epoch, rank=rank, num_workers=num_workers, first_step=state.step_in_epoch):
        figures = train_step(state, batch, forward=forward)
        if on_step is not None:
            on_step(state, figures)
        num_steps += 1
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / num_steps for name, value in sums.items()}
