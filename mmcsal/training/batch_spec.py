"""How clips become batches, and on how many workers; the same for whatever is trained on them."""

import math
from typing import ClassVar, Self

from pydantic import Field, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.training.evidence.decoys import NO_DECOYS, DecoySpec

DEFAULT_LANES = 24  # divisible by the usual numbers of workers
# What a run may change between a checkpoint and its resume: it changes the last digits alone, or nothing.
NOT_IN_RESULT = frozenset({"num_workers", "min_workers", "threads_per_worker", "cache_bytes"})


class BatchSpec(Spec):
    """Parameters of reading clips for training, to be completed with those of the training."""

    section: ClassVar[str]  # of the configuration, for errors

    batch_size: int = Field(default=32, ge=2)  # pairs of one step over all workers; the ragged last batch is dropped
    shuffle_buffer_bytes: int = Field(default=256 * 2**20, ge=1)  # clips that are mixed with each other, over all lanes
    # Decoded clips that a worker keeps in memory; more where its lanes need more.
    cache_bytes: int = Field(default=2**30, ge=1)
    # Parts of a batch that are read on their own: each worker reads the lanes of its rows. The order of the samples
    # depends on it; null = the greatest common divisor of batch_size and 24.
    num_lanes: int | None = Field(default=None, ge=1)
    num_workers: int = Field(default=1, ge=1)
    # With fewer nodes than asked for, train on with so many workers at least; null = wait for all of them.
    min_workers: int | None = Field(default=None, ge=1)
    threads_per_worker: int = Field(default=1, ge=1)

    @property
    def fewest_workers(self) -> int:
        """What training cannot do without."""
        return self.min_workers or self.num_workers

    @property
    def lanes(self) -> int:
        """Lanes of a batch."""
        return self.num_lanes or math.gcd(self.batch_size, DEFAULT_LANES)

    @property
    def num_held_out(self) -> int:
        """Clips that are kept out of training wherever they come from."""
        return 0

    @property
    def decoy_spec(self) -> DecoySpec:
        """Which clips are trained with another's sound."""
        return NO_DECOYS

    @model_validator(mode="after")
    def _equal_shares(self) -> Self:
        low, high = self.fewest_workers, self.num_workers
        if low > high:
            raise ValueError(f"min_workers {low} exceeds num_workers {high}")
        workers = math.lcm(*range(low, high + 1))
        if self.batch_size % workers:
            less, more = max(1, self.batch_size // workers) * workers, -(-self.batch_size // workers) * workers
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of {_workers_text(low, high)}: "
                f"every worker needs the same share; use {less} or {more}"
            )
        if self.batch_size % self.lanes or self.lanes % workers:
            raise ValueError(
                f"num_lanes {self.lanes} must divide batch_size {self.batch_size} and be a multiple of "
                f"{_workers_text(low, high)}: every worker reads whole lanes; use num_lanes={workers}"
            )
        return self


def _workers_text(low: int, high: int) -> str:
    return f"num_workers {high}" if low == high else f"every number of workers from {low} to {high}"
