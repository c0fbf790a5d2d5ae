"""L = L_cross + lambda_proto * mean over modalities of L_proto + lambda_centroid * ||mu_1 - mu_2||^2."""

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.losses.centroid import centroid_loss
from mmcsal.losses.info_nce import InfoNce, InfoNceSpec
from mmcsal.losses.swav import Swav, SwavSpec

# What each preset changes; a key that the user sets wins over its preset.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "cross": {"temperature": 0.07, "learn_temperature": True},
        "lambda_proto": 1.0,
        "lambda_centroid": 0.0,
    },
}


class MmsslSpec(Spec):
    """Parameters of the Stage 1 objective.

    `preset: paper` is the closest reading of the MMCSAL paper; `default` closes the modality gap further.
    """

    kind: Literal["mmssl"] = "mmssl"
    preset: Literal["default", "paper"] = "default"
    cross: InfoNceSpec = InfoNceSpec()
    proto: SwavSpec = SwavSpec()
    lambda_proto: float = Field(default=0.25, ge=0)
    lambda_centroid: float = Field(default=1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") not in PRESETS:
            return given  # the field's own validation says what is wrong
        return _merge(PRESETS[given["preset"]], given)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, one level of nesting deep; a nested spec object replaces the whole."""
    merged = {**base, **over}
    for key, value in base.items():
        if isinstance(value, dict) and isinstance(over.get(key), dict):
            merged[key] = {**value, **over[key]}
    return merged


class MmsslObjective(nn.Module):
    """The Stage 1 objective on the embeddings of two views of the same pairs."""

    def __init__(self, spec: MmsslSpec, modalities: tuple[str, str], embedding_width: int):
        super().__init__()
        self.spec = spec
        self.modalities = modalities
        self.cross = InfoNce(spec.cross)
        self.proto = nn.ModuleDict({m: Swav(spec.proto, embedding_width) for m in modalities})

    def forward(self, view1: tuple[Tensor, Tensor], view2: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss with gradient, and its detached parts by name.

        Args:
            view1, view2: (z_1 [B, D], z_2 [B, D]) per view: unit-norm embeddings of this worker's pairs.
        """
        cross = (self.cross(*view1) + self.cross(*view2)) / 2
        per_modality = [self.proto[m](view1[i], view2[i]) for i, m in enumerate(self.modalities)]
        proto = (per_modality[0] + per_modality[1]) / 2
        centroid = centroid_loss(torch.cat((view1[0], view2[0])), torch.cat((view1[1], view2[1])))
        total = cross + self.spec.lambda_proto * proto + self.spec.lambda_centroid * centroid
        parts = {"loss": total, "cross": cross, "proto": proto, "centroid": centroid}
        return total, {name: part.detach() for name, part in parts.items()}

    def prototypes_of(self, modality: str) -> Tensor:
        """The prototypes of one modality, [K, D], detached."""
        return self.proto[modality].prototypes.detach()  # pyright: ignore[reportReturnType, reportCallIssue, reportAttributeAccessIssue]

    def before_step(self) -> None:
        """Call before each forward pass of training."""
        for swav in self.proto.values():
            swav.normalize_prototypes()  # pyright: ignore[reportCallIssue]

    def after_step(self) -> None:
        """Call after each optimizer step."""
        self.cross.clamp_scale()

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """The parameters that must not move in this epoch (from 0): their gradients are to be dropped."""
        return list(self.proto.parameters()) if epoch < self.spec.proto.frozen_epochs else []
