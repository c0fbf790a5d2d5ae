"""Parameters of Stage 1."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from mmcsal.losses import MmsslSpec, ObjectiveSpec
from mmcsal.training.augment import AugmentSpec
from mmcsal.training.batch_spec import NOT_IN_RESULT, BatchSpec
from mmcsal.training.best import BestSpec
from mmcsal.training.evidence.decoys import DecoySpec

# What a run may change between a checkpoint and its resume without changing its result.
NOT_IN_HASH = {*NOT_IN_RESULT, "checkpoint_every_steps", "compile", "channels_last"}


class PretrainSpec(BatchSpec):
    """How the encoders are trained. The seed is the run's; which encoders, is the model's spec."""

    section: ClassVar[str] = "pretrain"

    epochs: int = Field(default=20, ge=1)
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
    decoys: DecoySpec = DecoySpec()
    best: BestSpec = BestSpec()
    eval_samples: int = Field(default=512, ge=2)  # clips that every epoch is measured on
    hold_out_eval: bool = False  # do not train on them
    checkpoint_every_steps: int | None = Field(default=None, ge=1)  # besides one at the end of each epoch

    @property
    def num_held_out(self) -> int:
        """Clips that every epoch is measured on and that training does not see."""
        return self.eval_samples if self.hold_out_eval else 0

    @property
    def decoy_spec(self) -> DecoySpec:
        """Which clips are trained with another's sound."""
        return self.decoys

    def settings(self) -> dict[str, Any]:
        """What the result of training depends on, as JSON; without decoys the same as before there were any."""
        without = NOT_IN_HASH if self.decoys.share else {*NOT_IN_HASH, "decoys"}
        return self.model_dump(mode="json", exclude=without)
