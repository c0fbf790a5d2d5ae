"""One optimizer step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmcsal.contracts.errors import MmcsalError
from mmcsal.training.augment import AugmentSpec, View, random_views
from mmcsal.training.data import ClipBatch
from mmcsal.training.grad_cache import cached_backward
from mmcsal.training.module import Assigned, Loss
from mmcsal.training.position import Position
from mmcsal.training.state import TrainState


def train_step(state: TrainState, batch: ClipBatch, *, forward: Callable[..., Any] | None = None) -> dict[str, float]:
    """Trains on one batch and advances the state.

    Args:
        batch: this worker's rows.
        forward: `state.module` wrapped for several workers; None = unwrapped.

    Returns:
        the parts of the loss over this worker's rows, `gradient_norm` before clipping, `learning_rate`, `temperature`.

    Raises:
        MmcsalError: the gradient is not finite; the weights are as before the step.
    """
    module, spec = state.module, state.spec
    module.train()
    module.objective.before_step()
    view1, view2 = views_of(batch, state, spec.augment)
    ids_by_modality = {"video": batch.sample_ids, "audio": batch.audio_ids}
    assigned = state.assignments.of(ids_by_modality, state.device) if state.assignments else None
    state.optimizer.zero_grad(set_to_none=True)
    loss, parts = _backward(state, (view1, view2), assigned, forward or module)
    for parameter in module.objective.frozen_parameters(state.epoch):
        parameter.grad = None  # AdamW skips what has no gradient
    gradient_norm = torch.nn.utils.clip_grad_norm_(module.parameters(), spec.gradient_clip_norm)
    check_finite(gradient_norm, loss, state, f"pretrain.learning_rate (now {spec.learning_rate})")
    learning_rate = state.scheduler.get_last_lr()[0]  # of this step: the schedule moves on below
    state.optimizer.step()
    module.objective.after_step()
    if state.average is not None:
        state.average.update_parameters(module.model)
    state.scheduler.step()
    own_log_p_B = parts.pop("own_log_p")
    if state.dynamics is not None:
        state.dynamics.add(batch.place_B, own_log_p_B)
    figures = {name: part.item() for name, part in parts.items()} | {
        "gradient_norm": gradient_norm.item(),
        "learning_rate": learning_rate,
        "temperature": module.objective.cross.temperature,
    }
    state.advance(figures)
    return figures


def views_of(batch: ClipBatch, position: Position, spec: AugmentSpec, *, num_views: int = 2) -> list[View]:
    """Views of this worker's rows, on its device, for the step that training stands at."""
    return random_views(
        batch.video_BTHWC.to(position.device, non_blocking=True),
        batch.audio_BL.to(position.device, non_blocking=True),
        spec,
        seed=position.seed,
        epoch=position.epoch,
        step=position.step_in_epoch,
        rows=batch.rows,
        global_batch_size=batch.global_batch_size,
        num_views=num_views,
    )


def check_finite(gradient_norm: Tensor, loss: Tensor, position: Position, lower: str) -> None:
    """Of the gradient, which is the workers' mean: all workers stop, or none.

    Args:
        lower: the key that is too high, with its value.

    Raises:
        MmcsalError: the gradient is not finite.
    """
    if not torch.isfinite(gradient_norm):
        raise MmcsalError(
            f"training: the gradient is not finite in epoch {position.epoch}, step {position.step_in_epoch} "
            f"(loss {loss.item()}); lower {lower}"
        )


def _backward(state: TrainState, views: tuple[View, View], assigned: Assigned, forward: Callable[..., Any]) -> Loss:
    """The loss, and its gradients as the workers' mean; in pieces where they are asked for and fewer than the rows."""
    size = state.spec.micro_batch_size
    if size is not None and size < 2 * len(views[0].video_BTHWC):
        return cached_backward(state.module, *views, assigned, size)
    loss, parts = forward(*views, assigned)
    loss.backward()
    return loss, parts
