"""One optimizer step."""

from collections.abc import Callable
from typing import Any

import torch

from mmcsal.contracts.errors import MmcsalError
from mmcsal.training.augment import two_views
from mmcsal.training.data import ClipBatch
from mmcsal.training.state import TrainState


def train_step(state: TrainState, batch: ClipBatch, *, forward: Callable[..., Any] | None = None) -> dict[str, float]:
    """Trains on one batch and advances the state.

    Args:
        batch: this worker's rows.
        forward: `state.module` wrapped for several workers; None = unwrapped.
    Returns: the parts of the loss over this worker's rows, `gradient_norm` before clipping, `learning_rate`,
        `temperature`.
    Raises: MmcsalError: the gradient is not finite; the weights are as before the step.
    """
    module, spec = state.module, state.spec
    module.train()
    module.objective.before_step()
    views = two_views(
        batch.video_BTHWC.to(state.device, non_blocking=True),
        batch.audio_BL.to(state.device, non_blocking=True),
        spec.augment,
        seed=state.seed,
        epoch=state.epoch,
        step=state.step_in_epoch,
        rows=batch.rows,
        global_batch_size=batch.global_batch_size,
    )
    loss, parts = (forward or module)(*views)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for parameter in module.objective.frozen_parameters(state.epoch):
        parameter.grad = None  # AdamW skips what has no gradient
    gradient_norm = torch.nn.utils.clip_grad_norm_(module.parameters(), spec.gradient_clip_norm)
    # Of the gradient, which is the workers' mean: all workers stop, or none.
    if not torch.isfinite(gradient_norm):
        raise MmcsalError(
            f"training: the gradient is not finite in epoch {state.epoch}, step {state.step_in_epoch} "
            f"(loss {parts['loss'].item()}); lower pretrain.learning_rate (now {spec.learning_rate})"
        )
    told = {"gradient_norm": gradient_norm.item(), "learning_rate": state.scheduler.get_last_lr()[0]}
    state.optimizer.step()
    module.objective.after_step()
    state.scheduler.step()
    state.advance()
    told["temperature"] = module.objective.cross.temperature
    return {**{name: part.item() for name, part in parts.items()}, **told}
