"""The order of an epoch: a function of (seed, epoch) and of which clips lie in which partition.

It depends neither on the number of workers, nor on the listing order of the files or the order of rows in them.
Partitions are shuffled and their clips cut into equal *lanes*; each lane fills its own rows of every batch, and a
worker reads the lanes of its rows alone, so that all workers together read the corpus once an epoch. A lane mixes its
clips within a window of neighbouring partitions, so that memory is bounded.

Source:
    MosaicML Streaming (canonical nodes) for the idea of an order that a fixed number of lanes makes elastic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmcsal.contracts.errors import InputError
from mmcsal.training.batch_spec import BatchSpec


@dataclass(frozen=True)
class Lanes:
    """How an epoch is cut into lanes, and a batch into the rows of each."""

    num_lanes: int
    batch_size: int  # a multiple of them
    steps_per_epoch: int
    window_clips: int  # so many a lane mixes with each other, or one partition

    @property
    def rows_per_lane(self) -> int:
        """Of each batch."""
        return self.batch_size // self.num_lanes


def cut_lanes(spec: BatchSpec, num_clips: int, clip_bytes: int, num_workers: int) -> Lanes:
    """What the configuration asks for, or what a smaller corpus gives.

    Args:
        num_clips: those that are trained on, of `clip_bytes` each.

    Raises:
        InputError: they are fewer than two a worker.
    """
    batch_size = min(spec.batch_size, num_clips)
    # A corpus of a few clips is no matter of reading: as many lanes as workers do.
    num_lanes = spec.lanes if batch_size >= spec.lanes else num_workers
    rows_per_lane = batch_size // num_lanes
    batch_size = rows_per_lane * num_lanes
    if batch_size < 2 * num_workers:
        raise InputError(
            f"training: {num_clips} clips in batches of {spec.batch_size} give {num_workers} workers less than two "
            f"clips each; ingest (or label) at least {2 * num_workers} clips, or set fewer workers "
            f"({spec.section}.num_workers)"
        )
    steps_per_epoch = num_clips // num_lanes // rows_per_lane
    return Lanes(num_lanes, batch_size, steps_per_epoch, max(1, spec.shuffle_buffer_bytes // clip_bytes // num_lanes))


def epoch_order(clips_of: Sequence[np.ndarray], lanes: Lanes, *, seed: int, epoch: int) -> np.ndarray:
    """The clips of one epoch, int64 [steps, B, 2]: (partition, place within it).

    The ragged end of each lane is dropped; it holds other clips in every epoch.

    Args:
        clips_of: of each partition, the places of its clips that are trained on.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(clips_of))
    clips_N2 = place_pairs(shuffled, [clips_of[partition] for partition in shuffled])
    mixed = [_mixed(lane_N2, lanes.window_clips, rng) for lane_N2 in np.array_split(clips_N2, lanes.num_lanes)]
    steps, rows = lanes.steps_per_epoch, lanes.rows_per_lane
    kept = np.stack([lane_N2[: steps * rows] for lane_N2 in mixed])
    by_step = kept.reshape(lanes.num_lanes, steps, rows, 2).swapaxes(0, 1)
    return by_step.reshape(steps, lanes.batch_size, 2)


def place_pairs(partitions: np.ndarray, clips_of: Sequence[np.ndarray]) -> np.ndarray:
    """(partition, place within it) of the clips of some partitions, one partition after the other, int64 [N, 2]."""
    return np.stack((np.repeat(partitions, [len(clips) for clips in clips_of]), np.concatenate(clips_of)), axis=1)


def _mixed(lane_N2: np.ndarray, window_clips: int, rng: np.random.Generator) -> np.ndarray:
    """The clips of a lane, mixed within windows of neighbouring partitions."""
    begins = np.concatenate(([0], np.flatnonzero(np.diff(lane_N2[:, 0])) + 1, [len(lane_N2)]))
    cuts, begin = [], 0
    for first, last in pairwise(begins):
        if last - begin > window_clips and first > begin:
            cuts.append(first)
            begin = first
    return np.concatenate([rng.permutation(window_N2) for window_N2 in np.split(lane_N2, cuts)])
