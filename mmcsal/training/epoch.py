"""One pass over the corpus."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mmcsal.losses.pcl import PclSpec
from mmcsal.training.clusters import refit_prototypes
from mmcsal.training.data import ClipBatch, ClipBatches
from mmcsal.training.data.prefetch import ahead
from mmcsal.training.position import Position
from mmcsal.training.state import TrainState
from mmcsal.training.step import train_step

Item = TypeVar("Item")


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

    Returns:
        as `run_epoch`, of the figures of `train_step`.
    """
    _refit_when_due(state, batches)

    def step(batch: ClipBatch) -> None:
        figures = train_step(state, batch, forward=forward)
        if on_step is not None:
            on_step(state, figures)

    return run_epoch(state, batches, step, rank=rank, num_workers=num_workers)


def run_epoch(
    position: Position, batches: ClipBatches, step: Callable[[ClipBatch], None], *, rank: int, num_workers: int
) -> dict[str, float]:
    """Steps to the end of the epoch that training stands in, from where it stands.

    Args:
        step: trains on this worker's rows of a batch and advances the position.

    Returns:
        the figures that the position was advanced by, averaged over all steps of the epoch, also those before a resume;
        and of the steps done here `steps_per_s` and `data_wait_share`, the share of the time spent waiting for batches.
    """
    steps_done, watch = position.steps_per_epoch - position.step_in_epoch, Stopwatch()
    start = {"rank": rank, "num_workers": num_workers, "first_step": position.step_in_epoch}
    epoch, begun_s = position.epoch, time.perf_counter()
    for batch in watch.waiting_for(ahead(lambda: batches.epoch(epoch, **start))):
        step(batch)
    means = {name: value / position.steps_per_epoch for name, value in position.sums.items()}
    wall_s = time.perf_counter() - begun_s
    return {**means, "steps_per_s": steps_done / wall_s, "data_wait_share": watch.waited_s / wall_s}


class Stopwatch:
    """Seconds spent waiting for the next item."""

    def __init__(self) -> None:
        self.waited_s = 0.0

    def waiting_for(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items."""
        while True:
            begun_s = time.perf_counter()
            item = next(items, None)
            self.waited_s += time.perf_counter() - begun_s
            if item is None:
                return
            yield item


def _refit_when_due(state: TrainState, batches: ClipBatches) -> None:
    """New k-means prototypes at the start of an epoch; in the middle of one, those of its start are in the state."""
    spec = state.spec.objective.proto
    if isinstance(spec, PclSpec) and state.epoch >= spec.start_epoch and state.step_in_epoch == 0:
        state.assignments = refit_prototypes(state.module.objective, state.encoders, batches)
