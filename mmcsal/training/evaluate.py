"""What a model is worth on fixed clips, without augmentation."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics import (
    alignment,
    class_recall_at_1,
    knn_accuracy,
    linear_accuracy,
    mix,
    modality_gap,
    prototype_usage,
    recall_at_1,
    uniformity,
)
from mmcsal.models.two_tower import MODALITIES, TwoTower
from mmcsal.training.data import ClipBatch, ClipBatches
from mmcsal.training.state import TrainState

CENTROID_CLIPS = 8192  # of lowest hash: the centroids are then known to about 0.01, at any size of the corpus


@torch.no_grad()
def embed_clips(model: TwoTower, video: Tensor, audio: Tensor, *, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Embeddings of clips, (float32 [N, D], float32 [N, D]) on the CPU, unit norm; the model's mode is kept.

    Args:
        video: uint8 [N, T, H, W, 3], or float in [0, 1].
        audio: int16 [N, L], or float in [-1, 1].
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = [
        model(v.to(device), a.to(device)) for v, a in zip(video.split(batch_size), audio.split(batch_size), strict=True)
    ]
    model.train(was_training)
    z_video_ND, z_audio_ND = (torch.cat(z).float().cpu() for z in zip(*parts, strict=True))
    return z_video_ND, z_audio_ND


def embed_batches(model: TwoTower, clips: Iterable[ClipBatch]) -> tuple[Tensor, Tensor]:
    """`embed_clips` of several batches, one after the other."""
    parts = [embed_clips(model, batch.video_BTHWC, batch.audio_BL) for batch in clips]
    return torch.cat([v for v, _ in parts]), torch.cat([a for _, a in parts])


def evaluate(state: TrainState, clips: Iterable[ClipBatch]) -> dict[str, float]:
    """The label-free figures of the METRIC table, by name.

    Args:
        clips: the fixed ones, such as `batches.lowest_hash(spec.eval_samples)`; may be kept in a list and reused.
    """
    z_video_ND, z_audio_ND = embed_batches(state.model, clips)
    figures = embedding_metrics(z_video_ND, z_audio_ND)
    for modality, z_ND in zip(MODALITIES, (z_video_ND, z_audio_ND), strict=True):
        prototypes_KD = F.normalize(state.module.objective.prototypes_of(modality).float().cpu(), dim=1)
        figures[f"prototype_usage_{modality}"] = prototype_usage(z_ND, prototypes_KD).item()
    return figures


def embedding_metrics(z_video_ND: Tensor, z_audio_ND: Tensor) -> dict[str, float]:
    """Gap, alignment, uniformity, retrieval and mix, of embeddings wherever they come from."""
    return {
        "gap": modality_gap(z_video_ND, z_audio_ND).item(),
        "alignment": alignment(z_video_ND, z_audio_ND).item(),
        "uniformity_video": uniformity(z_video_ND).item(),
        "uniformity_audio": uniformity(z_audio_ND).item(),
        "recall_at_1_video_to_audio": recall_at_1(z_video_ND, z_audio_ND).item(),
        "recall_at_1_audio_to_video": recall_at_1(z_audio_ND, z_video_ND).item(),
        "mix": mix(z_video_ND, z_audio_ND).item(),
    }


def labeled_metrics(z_video_ND: Tensor, z_audio_ND: Tensor, labels_N: Tensor, is_test_N: Tensor) -> dict[str, float]:
    """Class retrieval and probe accuracies, where labels are known.

    Args:
        labels_N: integer class of each pair.
        is_test_N: bool; the probes learn on the others.
    """
    joint_ND = torch.cat((z_video_ND, z_audio_ND), dim=1) / 2**0.5
    test, train = is_test_N, ~is_test_N
    probed = {"joint": joint_ND, "video": z_video_ND, "audio": z_audio_ND}
    figures = {
        "class_recall_at_1_video_to_audio": class_recall_at_1(z_video_ND[test], z_audio_ND[test], labels_N[test]),
        "class_recall_at_1_audio_to_video": class_recall_at_1(z_audio_ND[test], z_video_ND[test], labels_N[test]),
        **{f"knn_{n}": knn_accuracy(x[train], labels_N[train], x[test], labels_N[test]) for n, x in probed.items()},
        **{
            f"linear_{n}": linear_accuracy(x[train], labels_N[train], x[test], labels_N[test])
            for n, x in probed.items()
        },
    }
    return {name: float(value) for name, value in figures.items()}


def measure_centroids(state: TrainState, batches: ClipBatches, *, max_clips: int = CENTROID_CLIPS) -> None:
    """Stores the mean embedding of each modality over training data in `state.centroids`; call when training ends."""
    sums: dict[str, Tensor] = {m: torch.zeros(()) for m in MODALITIES}
    for chunk in batches.lowest_hash(max_clips):
        for modality, z_ND in zip(MODALITIES, embed_batches(state.model, [chunk]), strict=True):
            sums[modality] = sums[modality] + z_ND.double().sum(dim=0)
    num_clips = min(max_clips, batches.num_clips)
    state.centroids = {m: (total / num_clips).float().to(state.device) for m, total in sums.items()}


def close_gap(z_ND: Tensor, modality: str, centroids: dict[str, Tensor]) -> Tensor:
    """Embeddings shifted by half the difference of the centroids, towards the other modality; unit norm again.

    Args:
        centroids: [D] by modality, over training data (from the checkpoint).
    Raises: KeyError: the modality has no centroid.
    Source: Liang et al., "Mind the Gap", NeurIPS 2022.
    """
    (other,) = (m for m in MODALITIES if m != modality)
    return F.normalize(z_ND + (centroids[other] - centroids[modality]) / 2, dim=1)
