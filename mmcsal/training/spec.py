"""Parameters of Stage 1."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.losses import MmsslSpec, ObjectiveSpec
from mmcsal.training.augment import AugmentSpec
from mmcsal.training.best import BestSpec

DEFAULT_LANES = 24  # divisible by the usual numbers of workers


class PretrainSpec(Spec):
    """How the encoders are trained. The seed is the run's; which encoders, is the model's spec."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=2)  # pairs of one step over all workers; the ragged last batch is dropped
    # Clips of one pass through the encoders, to save memory: the loss still sees the whole batch. null = all at once.
    micro_batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # of the learning rate, after the warm-up
    warmup_fraction: float = Field(default=0.05, ge=0, le=1)  # of all steps
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip_norm: float = Field(default=5.0, gt=0)
    # Of an exponential moving average of the weights, which is then measured and exported; null = none.
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"  # of the encoders in training; losses are float32
    channels_last: bool = False  # memory layout of the convolutions: often faster on GPUs
    compile: bool = False  # the encoders by torch.compile, for GPUs: minutes at the start; slower on the CPUs tried
    objective: ObjectiveSpec = MmsslSpec()
    augment: AugmentSpec = AugmentSpec()
    best: BestSpec = BestSpec()
    shuffle_buffer_bytes: int = Field(default=256 * 2**20, ge=1)  # clips that are mixed with each other, over all lanes
    # Decoded clips that a worker keeps in memory; more where its lanes need more.
    cache_bytes: int = Field(default=2**30, ge=1)
    # Parts of a batch that are read on their own: each worker reads the lanes of its rows. The order of the samples
    # depends on it; null = the greatest common divisor of batch_size and 24.
    num_lanes: int | None = Field(default=None, ge=1)
    eval_samples: int = Field(default=512, ge=2)  # clips that every epoch is measured on
    hold_out_eval: bool = False  # do not train on them
    checkpoint_every_steps: int | None = Field(default=None, ge=1)  # besides one at the end of each epoch
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

    @model_validator(mode="after")
    def _equal_shares(self) -> Self:
        low, high = self.fewest_workers, self.num_workers
        if low > high:
            raise ValueError(f"min_workers {low} exceeds num_workers {high}")
        workers = math.lcm(*range(low, high + 1))
        if self.batch_size % workers:
            less, more = max(1, self.batch_size // workers) * workers, -(-self.batch_size // workers) * workers
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of {_told(low, high)}: "
                f"every worker needs the same share; use {less} or {more}"
            )
        if self.batch_size % self.lanes or self.lanes % workers:
            raise ValueError(
                f"num_lanes {self.lanes} must divide batch_size {self.batch_size} and be a multiple of "
                f"{_told(low, high)}: every worker reads whole lanes; use num_lanes={workers}"
            )
        return self


def _told(low: int, high: int) -> str:
    return f"num_workers {high}" if low == high else f"every number of workers from {low} to {high}"
