"""Uni-modal prototypes by k-means, once an epoch: each sample is drawn to the centre that it was assigned to.

Source:
    Li et al., "Prototypical Contrastive Learning of Unsupervised Representations", ICLR 2021 (ProtoNCE).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.tensors.kmeans import nearest_centres, spherical_kmeans

SMOOTHING = 10  # in ln(n + 10): keeps the concentration of small clusters in bounds
CONCENTRATION_QUANTILES = (0.1, 0.9)
NOT_ASSIGNED = -1


class PclSpec(Spec):
    """Parameters of the prototype loss on k-means centres."""

    kind: Literal["pcl"] = "pcl"
    num_prototypes: int = Field(default=64, ge=2)  # per modality
    temperature: float = Field(default=0.2, gt=0)  # the mean concentration of the clusters
    # The first epoch (from 0) with prototypes: earlier than cross-modal retrieval works, they lock onto clusters that
    # are private to a modality.
    start_epoch: int = Field(default=5, ge=1)
    num_kmeans_iterations: int = Field(default=20, ge=1)
    max_kmeans_rows: int = Field(default=65536, ge=2)  # centres are fitted on the samples of lowest hash, up to so many


def pcl_loss(z_BD: Tensor, centre_KD: Tensor, concentration_K: Tensor, assigned_B: Tensor) -> Tensor:
    """Mean cross-entropy of each row's own centre among all, logits z c / concentration; over this worker's rows.

    Args:
        z_BD: unit-norm rows.
        centre_KD: see `z_BD`.
        concentration_K: smaller = a tighter cluster, positive.
        assigned_B: the centre of each row, int64; -1 = none: the row is left out and counts as zero.
    """
    has_centre_B = assigned_B != NOT_ASSIGNED
    loss_B = F.cross_entropy(z_BD @ centre_KD.T / concentration_K, assigned_B.clamp_min(0), reduction="none")
    # Divided by all rows, so that the workers' mean is the mean over the global batch.
    return torch.where(has_centre_B, loss_B, 0.0).sum() / len(z_BD)


@torch.no_grad()
def concentrations(x_ND: Tensor, centre_KD: Tensor, temperature: float) -> Tensor:
    """How tight each cluster is, float32 [K], scaled so that the mean is `temperature`.

    phi = mean distance of its rows to the centre / ln(n + 10), clipped to the 10th-90th percentile; a cluster of one
    row or none, whose distance says nothing, takes the largest.

    Args:
        x_ND: unit-norm rows.
        centre_KD: see `x_ND`.
    """
    nearest_N, similarity_N = nearest_centres(x_ND, centre_KD)
    distance_N = (2 - 2 * similarity_N).clamp_min(0).sqrt()
    count_K = torch.bincount(nearest_N, minlength=len(centre_KD)).to(distance_N.dtype)
    total_K = torch.zeros_like(count_K).index_add_(0, nearest_N, distance_N)
    phi_K = total_K / count_K.clamp_min(1) / (count_K + SMOOTHING).log()
    phi_K = torch.where(count_K > 1, phi_K, phi_K.max())
    low, high = (torch.quantile(phi_K, q) for q in CONCENTRATION_QUANTILES)
    phi_K = phi_K.clamp(low, high)
    mean = phi_K.mean()
    # All rows in their centres: every cluster is as tight as any other.
    return phi_K * temperature / mean if mean > 0 else torch.full_like(phi_K, temperature)


class Pcl(nn.Module):
    """`pcl_loss` with the centres of one modality; 0 until `refit` has been called."""

    def __init__(self, spec: PclSpec, embedding_width: int):
        super().__init__()
        self.spec = spec
        self.centre_KD: Tensor
        self.concentration_K: Tensor
        self.num_centres: Tensor
        self.register_buffer("centre_KD", torch.zeros(spec.num_prototypes, embedding_width))
        self.register_buffer("concentration_K", torch.full((spec.num_prototypes,), spec.temperature))
        self.register_buffer("num_centres", torch.zeros((), dtype=torch.int64))  # 0 = not fitted yet

    def forward(self, view1_BD: Tensor, view2_BD: Tensor, assigned_B: Tensor | None = None) -> Tensor:
        """The mean of both views' `pcl_loss`."""
        centre_KD = self.current_KD
        if assigned_B is None or centre_KD is None:
            return 0.0 * (view1_BD.sum() + view2_BD.sum())
        centre_KD = centre_KD.to(view1_BD.dtype)
        concentration_K = self.concentration_K[: len(centre_KD)].to(view1_BD.dtype)
        losses = [pcl_loss(z_BD, centre_KD, concentration_K, assigned_B) for z_BD in (view1_BD, view2_BD)]
        return (losses[0] + losses[1]) / 2

    @torch.no_grad()
    def refit(self, x_ND: Tensor) -> None:
        """New centres from the embeddings of one modality, unit-norm [N, D]; with N < K, as many as there are rows."""
        num_centres = min(self.spec.num_prototypes, len(x_ND))
        found_KD = spherical_kmeans(x_ND, num_centres, num_iterations=self.spec.num_kmeans_iterations)
        self.centre_KD[:num_centres] = found_KD
        self.concentration_K[:num_centres] = concentrations(x_ND, found_KD, self.spec.temperature)
        self.num_centres.fill_(num_centres)

    def assign(self, x_ND: Tensor) -> Tensor:
        """The nearest centre of each unit-norm row, int64 [N]; call `refit` first."""
        centre_KD = self.current_KD
        assert centre_KD is not None
        return nearest_centres(x_ND.to(centre_KD.dtype), centre_KD)[0]

    def before_step(self) -> None:
        """Nothing to do: the centres are unit vectors and stay."""

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """None: the centres are no parameters."""
        return []

    @property
    def current_KD(self) -> Tensor | None:
        """The centres as they are; None before the first fit."""
        num_centres = int(self.num_centres)
        return self.centre_KD[:num_centres] if num_centres else None
