"""Everything that training changes, and its way to a checkpoint and back."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mmcsal.contracts.errors import InputError
from mmcsal.losses import MmsslObjective
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.two_tower import MODALITIES, TwoTower
from mmcsal.training.module import Mmssl
from mmcsal.training.schedule import warmup_cosine
from mmcsal.training.spec import PretrainSpec

# What a run may change between a checkpoint and its resume without changing its result.
NOT_IN_HASH = {"num_workers", "threads_per_worker", "cache_bytes", "eval_samples"}


class TrainState:
    """Model, objective, optimizer, schedule and position of one run.

    No random generator is kept: whatever is drawn follows from (seed, epoch, step). Equal states train on
    bit-identically, on one machine and number of workers.
    """

    def __init__(
        self, spec: PretrainSpec, model_spec: ModelSpec, *, seed: int, steps_per_epoch: int, device: str = "cpu"
    ):
        """A fresh state, its weights drawn from `seed` alone.

        Args:
            steps_per_epoch: `ClipBatches.steps_per_epoch`; the schedule ends after `epochs` times as many.
        """
        self.spec, self.model_spec, self.seed, self.steps_per_epoch = spec, model_spec, seed, steps_per_epoch
        self.config_hash = config_hash(spec, model_spec, seed, steps_per_epoch)
        self.device = torch.device(device)
        self.module = _build_module(spec, model_spec, seed).to(self.device)
        self.optimizer = AdamW(_parameter_groups(self.module, spec.weight_decay), lr=spec.learning_rate)
        self.scheduler = LambdaLR(self.optimizer, self._learning_rate_factor)
        self.epoch = 0  # epochs finished
        self.step_in_epoch = 0  # steps finished of the one under way
        self.centroids: dict[str, Tensor] = {}  # modality -> [D], over training data, once training has ended

    @property
    def model(self) -> TwoTower:
        """The encoders and heads."""
        return self.module.model

    @property
    def done(self) -> bool:
        """Whether all epochs are finished."""
        return self.epoch >= self.spec.epochs

    def advance(self) -> None:
        """Counts one finished step; after the last one of an epoch, the epoch."""
        self.step_in_epoch += 1
        if self.step_in_epoch == self.steps_per_epoch:
            self.epoch, self.step_in_epoch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """A complete checkpoint, for `torch.save` and `torch.load(weights_only=True)`; keys do not depend on a wrap."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "centroids": self.centroids,
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
            "config_hash": self.config_hash,
            "model_spec": self.model_spec.model_dump(mode="json"),
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Continues exactly where `checkpoint` was taken.

        Raises: InputError: the checkpoint belongs to another configuration, seed or corpus.
        """
        if checkpoint["config_hash"] != self.config_hash:
            raise InputError(
                f"checkpoint: made with another configuration, seed or corpus (hash {checkpoint['config_hash']}, this "
                f"run {self.config_hash}; seed {checkpoint['seed']}, this run {self.seed}; steps per epoch "
                f"{checkpoint['steps_per_epoch']}, this run {self.steps_per_epoch}); restore them, or use a new run "
                "directory"
            )
        self.module.load_state_dict(checkpoint["module"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.epoch, self.step_in_epoch = checkpoint["epoch"], checkpoint["step_in_epoch"]
        self.centroids = {m: c.to(self.device) for m, c in checkpoint["centroids"].items()}

    def _learning_rate_factor(self, step: int) -> float:
        total_steps = self.spec.epochs * self.steps_per_epoch
        return warmup_cosine(step, total_steps=total_steps, warmup_fraction=self.spec.warmup_fraction)


def load_model(checkpoint: dict[str, Any], device: str = "cpu") -> tuple[TwoTower, dict[str, Tensor]]:
    """The trained model in eval mode, and the centroids [D] by modality (empty before training has ended).

    Needs the checkpoint alone: no configuration, no corpus.
    """
    model = build_model(_without_weight_files(checkpoint["model_spec"]), seed=0)
    prefix = "model."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["module"].items() if k.startswith(prefix)}
    model.load_state_dict(weights)
    return model.to(device).eval(), {m: c.to(device) for m, c in checkpoint["centroids"].items()}


def config_hash(spec: PretrainSpec, model_spec: ModelSpec, seed: int, steps_per_epoch: int) -> str:
    """16 hex digits that change with whatever changes the result of training."""
    told = {
        "pretrain": spec.model_dump(mode="json", exclude=NOT_IN_HASH),
        "model": model_spec.model_dump(mode="json"),
        "seed": seed,
        "steps_per_epoch": steps_per_epoch,
    }
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


def _build_module(spec: PretrainSpec, model_spec: ModelSpec, seed: int) -> Mmssl:
    model = build_model(model_spec, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        objective = MmsslObjective(spec.objective, MODALITIES, model_spec.head.embedding_width)
    return Mmssl(model, objective)


def _parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels of the model alone: none for scale, prototypes, norms, biases."""
    decayed, free = [], []
    for name, parameter in module.named_parameters():
        is_weight = parameter.ndim >= 2 and not name.startswith("objective.")
        (decayed if is_weight else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _without_weight_files(model_spec: dict[str, Any]) -> ModelSpec:
    """The files that the encoders once started from need not exist where a checkpoint is read."""
    encoders = {m: {**model_spec[m], "weights": None} for m in MODALITIES if "weights" in model_spec[m]}
    return ModelSpec.model_validate({**model_spec, **encoders})
