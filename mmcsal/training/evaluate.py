"""What a model is worth on fixed clips, without augmentation."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal.metrics import (
    class_recall_at_1,
    cluster_nmi,
    effective_rank,
    knn_accuracy,
    linear_accuracy,
    mix,
    modality_gap,
    positive_pair_distance,
    prototype_usage,
    recall_at_1,
    retrieval_loss,
    uniformity,
)
from mmcsal.models.two_tower import MODALITIES
from mmcsal.training.data import ClipBatches
from mmcsal.training.embed import Pair, close_gap, embed_batches, project_features
from mmcsal.training.state import TrainState

CENTROID_CLIPS = 8192  # the centroids are then known to about 0.01, at any size of the corpus
COMPARED_CLIPS = 1024  # of them, for figures that take all pairs
MIN_LABELED = 20  # clips with a label below which probes say nothing


def evaluate(state: TrainState, features: Pair, labels_N: Tensor | None = None) -> dict[str, float]:
    """The figures of the METRIC table, by name, of the encoders that would be exported now.

    Args:
        features: `encode_batches` of those encoders and fixed clips, such as
            `batches.fixed_sample(spec.eval_samples)`.
        labels_N: integer class of each clip where it is known, -1 where not; only reported, nothing is decided by it.
    """
    z_video_ND, z_audio_ND = project_features(state.encoders, features)
    figures = embedding_metrics(z_video_ND, z_audio_ND)
    for modality, z_ND in zip(MODALITIES, (z_video_ND, z_audio_ND), strict=True):
        prototypes_KD = state.module.objective.prototypes_of(modality)
        if prototypes_KD is not None:
            unit_KD = F.normalize(prototypes_KD.float().cpu(), dim=1)
            figures[f"prototype_usage_{modality}"] = prototype_usage(z_ND, unit_KD).item()
    if labels_N is not None and can_probe(labels_N):
        known_N = labels_N >= 0
        is_test_N = torch.arange(int(known_N.sum())) % 2 == 1
        figures |= labeled_metrics(z_video_ND[known_N], z_audio_ND[known_N], labels_N[known_N], is_test_N)
    return figures


def can_probe(labels_N: Tensor) -> bool:
    """Whether there are labels enough for probes: some clips, of two classes in each half."""
    known_N = labels_N[labels_N >= 0]
    return len(known_N) >= MIN_LABELED and all(len(half.unique()) > 1 for half in (known_N[::2], known_N[1::2]))


def embedding_metrics(z_video_ND: Tensor, z_audio_ND: Tensor) -> dict[str, float]:
    """Gap, distance of pairs, uniformity, rank, retrieval and mix, of embeddings wherever they come from."""
    return {
        "eval_loss": retrieval_loss(z_video_ND, z_audio_ND).item(),
        "gap": modality_gap(z_video_ND, z_audio_ND).item(),
        "alignment": positive_pair_distance(z_video_ND, z_audio_ND).item(),  # the name that runs have stored
        "uniformity_video": uniformity(z_video_ND).item(),
        "uniformity_audio": uniformity(z_audio_ND).item(),
        "effective_rank_video": effective_rank(z_video_ND).item(),
        "effective_rank_audio": effective_rank(z_audio_ND).item(),
        "recall_at_1_video_to_audio": recall_at_1(z_video_ND, z_audio_ND).item(),
        "recall_at_1_audio_to_video": recall_at_1(z_audio_ND, z_video_ND).item(),
        "mix": mix(z_video_ND, z_audio_ND).item(),
    }


def labeled_metrics(z_video_ND: Tensor, z_audio_ND: Tensor, labels_N: Tensor, is_test_N: Tensor) -> dict[str, float]:
    """Class retrieval, probe accuracies and clusters against classes, where labels are known.

    Args:
        labels_N: integer class of each pair.
        is_test_N: bool; the probes learn on the others.
    """
    joint_ND = torch.cat((z_video_ND, z_audio_ND), dim=1) / 2**0.5
    test, train = is_test_N, ~is_test_N
    seen, asked = labels_N[train], labels_N[test]
    probed = {"joint": joint_ND, "video": z_video_ND, "audio": z_audio_ND}
    figures = {
        "class_recall_at_1_video_to_audio": class_recall_at_1(z_video_ND[test], z_audio_ND[test], asked),
        "class_recall_at_1_audio_to_video": class_recall_at_1(z_audio_ND[test], z_video_ND[test], asked),
        **{f"knn_{n}": knn_accuracy(x[train], seen, x[test], asked) for n, x in probed.items()},
        # Cross kNN: the class of one modality by its neighbours in the other.
        "knn_video_to_audio": knn_accuracy(z_audio_ND[train], seen, z_video_ND[test], asked),
        "knn_audio_to_video": knn_accuracy(z_video_ND[train], seen, z_audio_ND[test], asked),
        **{f"linear_{n}": linear_accuracy(x[train], seen, x[test], asked) for n, x in probed.items()},
        "nmi_joint": cluster_nmi(joint_ND[test], asked),
    }
    return {name: float(value) for name, value in figures.items()}


def measure_centroids(
    state: TrainState, batches: ClipBatches, *, max_clips: int = CENTROID_CLIPS
) -> dict[str, dict[str, float]]:
    """Stores the mean embedding of each modality over training data in `state.centroids`; call when training ends.

    Returns:
        `embedding_metrics` of the first of these clips as trained ("trained") and after `close_gap` ("shifted"), side
        by side: what the prototypes have done, and what a shift adds.
    """
    trained = embed_batches(state.encoders, batches.fixed_sample(max_clips))
    state.centroids = {m: z_ND.double().mean(dim=0).float() for m, z_ND in zip(MODALITIES, trained, strict=True)}
    few = [z_ND[:COMPARED_CLIPS] for z_ND in trained]
    shifted = [close_gap(z_ND, m, state.centroids) for m, z_ND in zip(MODALITIES, few, strict=True)]
    return {"trained": embedding_metrics(*few), "shifted": embedding_metrics(*shifted)}
