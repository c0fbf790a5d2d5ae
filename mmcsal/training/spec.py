"""Parameters of Stage 1."""

from typing import Self

from pydantic import Field, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.losses import MmsslSpec, ObjectiveSpec
from mmcsal.training.augment import AugmentSpec


class PretrainSpec(Spec):
    """How the encoders are trained. The seed is the run's; which encoders, is the model's spec."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=2)  # pairs of one step over all workers; the ragged last batch is dropped
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_fraction: float = Field(default=0.05, ge=0, le=1)  # of all steps
    gradient_clip_norm: float = Field(default=5.0, gt=0)
    objective: ObjectiveSpec = MmsslSpec()
    augment: AugmentSpec = AugmentSpec()
    shuffle_buffer_bytes: int = Field(default=256 * 2**20, ge=1)  # partitions whose rows are mixed with each other
    cache_bytes: int = Field(default=2**30, ge=1)  # decoded clips that a worker keeps in memory
    eval_samples: int = Field(default=512, ge=2)  # clips of lowest hash that every epoch is measured on
    num_workers: int = Field(default=1, ge=1)
    threads_per_worker: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _equal_shares(self) -> Self:
        if self.batch_size % self.num_workers:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of num_workers {self.num_workers}: "
                f"every worker needs the same share; use {self.batch_size // self.num_workers * self.num_workers} "
                f"or {-(-self.batch_size // self.num_workers) * self.num_workers}"
            )
        return self
