"""L = L_cross + lambda_proto * mean over modalities of L_proto + lambda_centroid * ||mu_1 - mu_2||^2."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.losses.centroid import centroid_loss
from mmcsal.losses.info_nce import InfoNce, InfoNceSpec
from mmcsal.losses.pcl import Pcl, PclSpec
from mmcsal.losses.swav import Swav, SwavSpec

PrototypeSpec = Annotated[SwavSpec | PclSpec, Field(discriminator="kind")]

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
    proto: PrototypeSpec = SwavSpec()
    lambda_proto: float = Field(default=0.25, ge=0)
    lambda_centroid: float = Field(default=1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given  # the field's own validation says what is wrong
        if isinstance(given.get("proto"), dict):
            given = {**given, "proto": {"kind": "swav", **given["proto"]}}
        return _merge(PRESETS.get(str(given.get("preset")), {}), given)


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
        self.proto = nn.ModuleDict({m: _build_prototypes(spec.proto, embedding_width) for m in modalities})

    def forward(
        self,
        view1: tuple[Tensor, Tensor],
        view2: tuple[Tensor, Tensor],
        assigned: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss with gradient, and its detached parts by name; `own_log_p`, [B], is that of each pair.

        Args:
            view1: (z_1 [B, D], z_2 [B, D]) per view: unit-norm embeddings of this worker's pairs.
            view2: see `view1`.
            assigned: modality -> the prototype of each pair, int64 [B], where the prototypes are k-means centres.
        """
        own_log_p_B = (self.cross.own_log_p(*view1) + self.cross.own_log_p(*view2)) / 2
        cross = -own_log_p_B.mean()
        assigned = assigned or {}
        per_modality = [self.proto[m](view1[i], view2[i], assigned.get(m)) for i, m in enumerate(self.modalities)]
        proto = (per_modality[0] + per_modality[1]) / 2
        centroid = centroid_loss(torch.cat((view1[0], view2[0])), torch.cat((view1[1], view2[1])))
        total = cross + self.spec.lambda_proto * proto + self.spec.lambda_centroid * centroid
        parts = {"loss": total, "cross": cross, "proto": proto, "centroid": centroid, "own_log_p": own_log_p_B}
        return total, {name: part.detach() for name, part in parts.items()}

    def prototypes_of(self, modality: str) -> Tensor | None:
        """The prototypes of one modality, [K, D], detached; None before there are any."""
        return _prototypes(self.proto[modality]).current_KD

    def before_step(self) -> None:
        """Call before each forward pass of training."""
        for module in self.proto.values():
            _prototypes(module).before_step()

    def after_step(self) -> None:
        """Call after each optimizer step."""
        self.cross.clamp_scale()

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """The parameters that must not move in this epoch (from 0): their gradients are to be dropped."""
        return [p for module in self.proto.values() for p in _prototypes(module).frozen_parameters(epoch)]


def _build_prototypes(spec: SwavSpec | PclSpec, embedding_width: int) -> Swav | Pcl:
    return Swav(spec, embedding_width) if isinstance(spec, SwavSpec) else Pcl(spec, embedding_width)


def _prototypes(module: nn.Module) -> Swav | Pcl:
    """A `nn.ModuleDict` forgets what it holds."""
    assert isinstance(module, Swav | Pcl)
    return module
