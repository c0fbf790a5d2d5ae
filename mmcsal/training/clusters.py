"""Which prototype each sample was assigned to at the start of the epoch, for prototypes that are k-means centres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcsal.contracts.ids import hash_ids, places_among_sorted
from mmcsal.losses import MmsslObjective
from mmcsal.losses.pcl import NOT_ASSIGNED, Pcl, PclSpec
from mmcsal.models.two_tower import MODALITIES, TwoTower
from mmcsal.tensors.collectives import broadcast, gather_uneven, num_workers, worker_rank
from mmcsal.training.data import ClipBatches
from mmcsal.training.embed import embed_batches


@dataclass(frozen=True)
class Assignments:
    """The prototype of every sample, by the hash of its id."""

    hash_N: Tensor  # int64, ascending
    by_modality: dict[str, Tensor]  # int32 [N]

    def of(self, ids_by_modality: Mapping[str, Sequence[str]], device: torch.device) -> dict[str, Tensor]:
        """modality -> the prototype of each sample, int64 [B]; -1 for a sample that is not known.

        Args:
            ids_by_modality: whose video, and whose audio: of a decoy they are two samples.
        """
        assigned = {}
        for modality, sample_ids in ids_by_modality.items():
            place_B = torch.from_numpy(places_among_sorted(_signed_hashes(sample_ids).numpy(), self.hash_N.numpy()))
            assigned_B = torch.full((len(place_B),), NOT_ASSIGNED)
            assigned_B[place_B >= 0] = self.by_modality[modality][place_B[place_B >= 0]].long()
            assigned[modality] = assigned_B.to(device)
        return assigned

    def state(self) -> dict[str, Any]:
        """For a checkpoint: `Assignments(**state)` is the same again."""
        return {"hash_N": self.hash_N, "by_modality": self.by_modality}


def refit_prototypes(objective: MmsslObjective, model: TwoTower, batches: ClipBatches) -> Assignments:
    """New centres in the objective's prototypes of both modalities, and where each sample belongs.

    Every worker calls it and embeds its share of the clips; centres are fitted on the samples of lowest hash.

    Args:
        objective: its prototypes are `Pcl`.
        model: alike on every worker, running statistics as well.
    """
    spec = objective.spec.proto
    assert isinstance(spec, PclSpec)
    share = list(batches.sample_ids_of_share(worker_rank(), num_workers()))
    own_hash_S = _signed_hashes(share)
    hash_N, order_N = gather_uneven(own_hash_S).sort()
    last = hash_N[min(spec.max_kmeans_rows, len(hash_N)) - 1]
    fitted_S = own_hash_S <= last
    fit_order = gather_uneven(own_hash_S[fitted_S]).argsort()
    by_modality = {}
    embedded = embed_batches(model, batches.share_of_all(worker_rank(), num_workers()))
    for modality, z_SD in zip(MODALITIES, embedded, strict=True):
        prototypes = objective.proto[modality]
        assert isinstance(prototypes, Pcl)
        device = prototypes.centre_KD.device
        prototypes.refit(gather_uneven(z_SD[fitted_S])[fit_order].to(device))
        for buffer in prototypes.buffers():  # machines of another kind may round otherwise
            broadcast(buffer)
        assigned_S = prototypes.assign(z_SD.to(device)).to("cpu", torch.int32)
        by_modality[modality] = gather_uneven(assigned_S)[order_N]
    return Assignments(hash_N, by_modality)


def _signed_hashes(sample_ids: Sequence[str]) -> Tensor:
    """The hashes of ids as int64, which torch can sort."""
    return torch.from_numpy(hash_ids(sample_ids).view("int64"))
