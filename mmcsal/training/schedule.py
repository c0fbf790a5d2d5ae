"""Learning rate over the steps of a run."""

import math
from typing import Literal


def learning_rate_factor(
    step: int, *, total_steps: int, warmup_fraction: float, schedule: Literal["cosine", "linear", "constant"] = "cosine"
) -> float:
    """Factor on the learning rate for this step (from 0): a linear rise, then what the schedule says.

    `cosine` and `linear` fall to 0 at the last step, and steps at or beyond `total_steps` get 0; `constant` stays at 1.
    """
    warmup_steps = math.ceil(warmup_fraction * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
