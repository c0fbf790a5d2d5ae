"""Everything that training changes, and its way to a checkpoint and back."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mmcsal.contracts.errors import InputError
from mmcsal.losses import MmsslObjective
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.two_tower import MODALITIES, TwoTower
from mmcsal.training.best import BestEpoch
from mmcsal.training.clusters import Assignments
from mmcsal.training.evidence.dynamics import Dynamics
from mmcsal.training.module import Mmssl
from mmcsal.training.position import Position
from mmcsal.training.schedule import learning_rate_factor
from mmcsal.training.spec import PretrainSpec


class TrainState(Position):
    """Model, objective, optimizer, schedule and position of one run.

    Equal states train on bit-identically, on one machine and number of workers.
    """

    def __init__(
        self,
        spec: PretrainSpec,
        model_spec: ModelSpec,
        *,
        seed: int,
        steps_per_epoch: int,
        num_clips: int = 0,
        device: str = "cpu",
    ):
        """A fresh state, its weights drawn from `seed` alone.

        Args:
            steps_per_epoch: `ClipBatches.steps_per_epoch`; the schedule ends after `epochs` times as many.
            num_clips: `ClipBatches.num_clips`, whose dynamics are kept; 0 = of none.
        """
        super().__init__(seed=seed, steps_per_epoch=steps_per_epoch, device=device)
        self.spec, self.model_spec = spec, model_spec
        self.config_hash = config_hash(spec, model_spec, seed, steps_per_epoch)
        check_micro_batches(spec, model_spec)
        self.module = _in_layout(_build_module(spec, model_spec, seed).to(self.device), spec.channels_last)
        self.average = _average_of(self.module.model, spec.ema_decay)
        self.optimizer = AdamW(parameter_groups(self.module, spec.weight_decay), lr=spec.learning_rate)
        self.scheduler = LambdaLR(self.optimizer, self._learning_rate_factor)
        self.assignments: Assignments | None = None  # of this epoch, where prototypes are k-means centres
        self.dynamics = Dynamics(num_clips) if num_clips else None
        self.best = BestEpoch()
        self.centroids: dict[str, Tensor] = {}  # modality -> [D] on the CPU, over training data, at the end

    @property
    def model(self) -> TwoTower:
        """The encoders and heads."""
        return self.module.model

    @property
    def encoders(self) -> TwoTower:
        """What is measured and exported: the average of the weights where there is one, else the weights."""
        if self.average is None:
            return self.model
        assert isinstance(self.average.module, TwoTower)
        return self.average.module

    @property
    def done(self) -> bool:
        """Whether all epochs are finished, or no better one is to be expected."""
        return self.epoch >= self.spec.epochs or self.best.ends_training(self.spec.best)

    def state_dict(self) -> dict[str, Any]:
        """A complete checkpoint, for `torch.save` and `torch.load(weights_only=True)`; keys do not depend on a wrap."""
        return {
            "module": self.module.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            **self.position_dict(),
            "assignments": None if self.assignments is None else self.assignments.state(),
            "dynamics": None if self.dynamics is None else self.dynamics.state(),
            "best": self.best.state(),
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
            "config_hash": self.config_hash,
        }

    def encoders_dict(self) -> dict[str, Any]:
        """What `load_model` needs to embed clips, without what only training needs."""
        return {
            "model": self.encoders.state_dict(),
            "centroids": self.centroids,
            "model_spec": self.model_spec.model_dump(mode="json"),
            "config_hash": self.config_hash,
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Continues exactly where `checkpoint` was taken.

        Raises:
            InputError: the checkpoint belongs to another configuration, seed or corpus.
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
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])
        if self.dynamics is not None and checkpoint.get("dynamics") is not None:  # a run begun by 0.2.0 has none
            self.dynamics.load_state(checkpoint["dynamics"])
        self.load_position(checkpoint)
        self.best = BestEpoch(**checkpoint["best"])
        self.assignments = Assignments(**checkpoint["assignments"]) if checkpoint["assignments"] else None

    def _learning_rate_factor(self, step: int) -> float:
        total_steps = self.spec.epochs * self.steps_per_epoch
        return learning_rate_factor(
            step,
            total_steps=total_steps,
            warmup_fraction=self.spec.warmup_fraction,
            schedule=self.spec.schedule,
        )


def load_model(checkpoint: dict[str, Any], device: str = "cpu") -> tuple[TwoTower, dict[str, Tensor]]:
    """The trained model in eval mode, and the centroids [D] by modality (empty before training has ended), on the CPU.

    Args:
        checkpoint: of `TrainState.encoders_dict`; no configuration and no corpus is needed.
    """
    model = build_model(without_weight_files(checkpoint["model_spec"]), seed=0)
    model.load_state_dict(checkpoint["model"])
    return model.to(device).eval(), checkpoint["centroids"]


def config_hash(spec: PretrainSpec, model_spec: ModelSpec, seed: int, steps_per_epoch: int) -> str:
    """16 hex digits that change with whatever changes the result of training."""
    settings = {
        "pretrain": spec.settings(),
        "model": model_spec.model_dump(mode="json"),
        "seed": seed,
        "steps_per_epoch": steps_per_epoch,
    }
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def _build_module(spec: PretrainSpec, model_spec: ModelSpec, seed: int) -> Mmssl:
    model = build_model(model_spec, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        objective = MmsslObjective(spec.objective, MODALITIES, model_spec.head.embedding_width)
    return Mmssl(model, objective, use_bfloat16=spec.precision == "bfloat16", compile_encoders=spec.compile)


def check_micro_batches(spec: PretrainSpec, model_spec: ModelSpec) -> None:
    """Raises InputError where micro batches would change the result instead of saving memory."""
    dependent = [m for m in MODALITIES if getattr(model_spec, m).depends_on_batch]
    if spec.micro_batch_size is not None and dependent:
        raise InputError(
            f"pretrain.micro_batch_size: the {' and '.join(dependent)} encoder normalises over the clips of a pass, so "
            f"that smaller passes give another result; use model.{dependent[0]}.norm=group or frozen"
        )


def _average_of(model: TwoTower, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True).requires_grad_(False)


def _in_layout(module: Mmssl, channels_last: bool) -> Mmssl:
    if channels_last:
        for parameter in module.parameters():
            layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(parameter.ndim)
            if layout is not None:
                parameter.data = parameter.data.to(memory_format=layout)
    return module


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels of the model alone: none for scale, prototypes, norms, biases."""
    decayed, free = [], []
    for name, parameter in module.named_parameters():
        is_weight = parameter.ndim >= 2 and not name.startswith("objective.")
        (decayed if is_weight else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def without_weight_files(model_spec: dict[str, Any]) -> ModelSpec:
    """The files that the encoders once started from need not exist where a checkpoint is read."""
    encoders = {m: {**model_spec[m], "weights": None} for m in MODALITIES if "weights" in model_spec[m]}
    return ModelSpec.model_validate({**model_spec, **encoders})
