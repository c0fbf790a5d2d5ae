"""Fine-tuning: the encoders and the downstream classifier on labeled clips, in plain torch."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mmcsal.metrics.classification import answer_figures
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.fusion import FusionClassifier, Logits
from mmcsal.models.two_tower import MODALITIES
from mmcsal.training.data import ClipBatch, ClipBatches
from mmcsal.training.embed import in_batches, pairs_of
from mmcsal.training.epoch import run_epoch
from mmcsal.training.finetune.spec import FinetuneSpec
from mmcsal.training.position import Position
from mmcsal.training.schedule import learning_rate_factor
from mmcsal.training.state import load_model, parameter_groups, without_weight_files
from mmcsal.training.step import check_finite, views_of

RECALL = "recall_of:"  # before the name of a class


class FinetuneState(Position):
    """Classifier, optimizer, schedule and position of one fine-tuning.

    Equal states train on bit-identically, on one machine and number of workers.
    """

    def __init__(
        self,
        spec: FinetuneSpec,
        model_spec: ModelSpec,
        num_classes: int,
        *,
        seed: int,
        steps_per_epoch: int,
        pretrained: dict[str, Any] | None = None,
        device: str = "cpu",
    ):
        """A fresh state.

        Args:
            pretrained: `TrainState.encoders_dict`, whose encoders training begins with; None = as drawn from `seed`.
        """
        super().__init__(seed=seed, steps_per_epoch=steps_per_epoch, device=device)
        self.spec, self.model_spec = spec, model_spec
        encoders = load_model(pretrained)[0] if pretrained else build_model(model_spec, seed=seed)
        self.model = FusionClassifier(encoders, num_classes).to(self.device)
        self.optimizer = AdamW(self._parameter_groups(), lr=spec.learning_rate)
        self.scheduler = LambdaLR(self.optimizer, self._learning_rate_factor)

    @property
    def done(self) -> bool:
        """Whether all epochs are finished."""
        return self.epoch >= self.spec.epochs

    def state_dict(self) -> dict[str, Any]:
        """A complete checkpoint, for `torch.save` and `torch.load(weights_only=True)`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            **self.position_dict(),
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Continues exactly where `checkpoint` was taken."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.load_position(checkpoint)

    def classifier_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """What `load_classifier` needs to answer, without what only training needs."""
        return {
            "model": self.model.state_dict(),
            "classes": list(classes),
            "model_spec": self.model_spec.model_dump(mode="json"),
        }

    def _parameter_groups(self) -> list[dict[str, Any]]:
        rate_of = {
            name: self.spec.encoder_learning_rate if name.endswith("_encoder") else self.spec.learning_rate
            for name, _ in self.model.named_children()
        }
        return [
            {**group, "lr": rate_of[name]}
            for name, part in self.model.named_children()
            for group in parameter_groups(part, self.spec.weight_decay)
        ]

    def _learning_rate_factor(self, step: int) -> float:
        total_steps = self.spec.epochs * self.steps_per_epoch
        return learning_rate_factor(step, total_steps=total_steps, warmup_fraction=self.spec.warmup_fraction)


def load_classifier(checkpoint: dict[str, Any], device: str = "cpu") -> tuple[FusionClassifier, tuple[str, ...]]:
    """The classifier in eval mode, and the class of each column of its logits.

    Args:
        checkpoint: of `FinetuneState.classifier_dict`; no configuration and no corpus is needed.
    """
    encoders = build_model(without_weight_files(checkpoint["model_spec"]), seed=0)
    model = FusionClassifier(encoders, len(checkpoint["classes"]))
    model.load_state_dict(checkpoint["model"])
    return model.to(device).eval(), tuple(checkpoint["classes"])


def finetune_epoch(
    state: FinetuneState,
    batches: ClipBatches,
    label_of: Mapping[str, int],
    *,
    rank: int = 0,
    num_workers: int = 1,
    forward: Callable[..., Logits] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Trains to the end of the epoch that the state stands in.

    Args:
        label_of: the class number of each sample.
        forward: `state.model` wrapped for several workers; None = unwrapped.
        on_step: called after each step with its figures.

    Returns:
        as `run_epoch`, of the figures of `finetune_step`.
    """

    def step(batch: ClipBatch) -> None:
        figures = finetune_step(state, batch, label_of, forward=forward)
        if on_step is not None:
            on_step(figures)

    return run_epoch(state, batches, step, rank=rank, num_workers=num_workers)


def finetune_step(
    state: FinetuneState,
    batch: ClipBatch,
    label_of: Mapping[str, int],
    *,
    forward: Callable[..., Logits] | None = None,
) -> dict[str, float]:
    """Trains on one batch and advances the state.

    Arguments as of `finetune_epoch`; the batch holds this worker's rows.

    Returns:
        cross-entropy over this worker's rows, of both modalities and of each alone, `train_accuracy`, `gradient_norm`
        before clipping, `learning_rate`.

    Raises:
        MmcsalError: the gradient is not finite; the weights are as before the step.
    """
    state.model.train()
    (view,) = views_of(batch, state, state.spec.augment, num_views=1)
    label_B = torch.tensor([label_of[sample_id] for sample_id in batch.sample_ids], device=state.device)
    state.optimizer.zero_grad(set_to_none=True)
    logits = (forward or state.model)(*view)
    losses = losses_of(logits, label_B)
    torch.stack(list(losses.values())).sum().backward()
    gradient_norm = _clip_gradients(state.model, state.spec.gradient_clip_norm)
    lower = f"finetune.learning_rate (now {state.spec.learning_rate}) and finetune.encoder_learning_rate"
    check_finite(gradient_norm, losses["loss"], state, lower)
    learning_rate = state.scheduler.get_last_lr()[-1]  # of this step: the schedule moves on below
    state.optimizer.step()
    state.scheduler.step()
    figures = {name: loss.item() for name, loss in losses.items()} | {
        "train_accuracy": (logits.both.argmax(dim=1) == label_B).float().mean().item(),
        "gradient_norm": gradient_norm.item(),
        "learning_rate": learning_rate,
    }
    state.advance(figures)
    return figures


def losses_of(logits: Logits, label_B: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy: `loss` of both modalities, and `loss_<modality>` of each alone; their sum is trained."""
    alone = {f"loss_{name}": F.cross_entropy(getattr(logits, name), label_B) for name in MODALITIES}
    return {"loss": F.cross_entropy(logits.both, label_B), **alone}


def _clip_gradients(model: FusionClassifier, max_norm: float) -> Tensor:
    """Of what both modalities train, and of each layer beside it by itself: it must not steer the encoders.

    Returns:
        the norm of the first, before.
    """
    beside = [list(getattr(model, name).parameters()) for name in MODALITIES]
    for parameters in beside:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    apart = {id(p) for parameters in beside for p in parameters}
    return torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if id(p) not in apart], max_norm)


def answers(model: FusionClassifier, clips: Iterable[ClipBatch]) -> Logits:
    """Logits of clips as they are, float32 [N, number of classes] on the CPU; the model's mode is kept."""
    found = in_batches(model, model, pairs_of(clips))
    return Logits(*found) if found else Logits(*torch.empty(3, 0, model.both.out_features))


def figures_of(logits: Logits, label_N: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """What the answers are worth, as figures of the METRIC table; recall of the classes that occur."""
    both = answer_figures(logits.both.double().softmax(dim=1), label_N)
    alone = {
        f"accuracy_{name}": (getattr(logits, name).argmax(dim=1) == label_N).double().mean().item()
        for name in MODALITIES
    }
    recall = dict(zip(classes, both.pop("class_recall"), strict=True))
    return {**both, **alone, **{RECALL + name: value for name, value in recall.items() if value == value}}
