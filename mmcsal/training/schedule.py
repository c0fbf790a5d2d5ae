"""Learning rate over the steps of a run."""

import math


def warmup_cosine(step: int, *, total_steps: int, warmup_fraction: float) -> float:
    """Factor on the learning rate for this step (from 0): linear rise, then half a cosine down to 0.

    Steps at or beyond `total_steps` get 0.
    """
    warmup_steps = math.ceil(warmup_fraction * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
