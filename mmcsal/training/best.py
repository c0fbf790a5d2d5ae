"""Which epoch's encoders are kept, and when training ends early; decided without labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import Field

from mmcsal.contracts.spec import Spec


class BestSpec(Spec):
    """Parameters of keeping and stopping."""

    keep: Literal["best", "last"] = "best"  # the encoders that later stages use
    # eval_loss: symmetric cross-entropy of cross-modal retrieval among the eval clips, as they are; smaller is better.
    # With `hold_out_eval` it is measured on clips that training never saw.
    criterion: Literal["eval_loss"] = "eval_loss"
    min_improvement: float = Field(default=0.0, ge=0)  # an epoch counts as better from this difference on
    patience_epochs: int | None = Field(default=None, ge=1)  # stop after so many without a better one; null = never


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far; the same on every worker."""

    epoch: int = -1  # -1 = none yet
    value: float = float("inf")
    num_epochs_since: int = 0

    def after(self, epoch: int, figures: Mapping[str, float], spec: BestSpec) -> Self:
        """The best epoch once `epoch` has been measured; a figure that is no number is never better."""
        value = figures[spec.criterion]
        if value < self.value - spec.min_improvement:
            return type(self)(epoch, value, 0)
        return type(self)(self.epoch, self.value, self.num_epochs_since + 1)

    def ends_training(self, spec: BestSpec) -> bool:
        """Whether the patience is spent."""
        return spec.patience_epochs is not None and self.num_epochs_since >= spec.patience_epochs

    def state(self) -> dict[str, Any]:
        """For a checkpoint: `BestEpoch(**state)` is the same again."""
        return asdict(self)
