"""Clips through a model, as they are: no augmentation, no gradient, float32."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcsal.models.two_tower import MODALITIES, TwoTower
from mmcsal.training.data import ClipBatch

BATCH_SIZE = 64
Pair = tuple[Tensor, Tensor]  # of video and audio


def embed_clips(model: TwoTower, video: Tensor, audio: Tensor, *, batch_size: int = BATCH_SIZE) -> Pair:
    """Embeddings of clips, (float32 [N, D], float32 [N, D]) on the CPU, unit norm; the model's mode is kept.

    Args:
        video: uint8 [N, T, H, W, 3], or float in [0, 1].
        audio: int16 [N, L], or float in [-1, 1].
    """
    return _in_batches(model, model, [(video, audio)], batch_size)


def embed_batches(model: TwoTower, clips: Iterable[ClipBatch]) -> Pair:
    """`embed_clips` of several batches, one after the other."""
    return _in_batches(model, model, pairs_of(clips))


def pairs_of(clips: Iterable[ClipBatch]) -> Iterator[Pair]:
    """The tensors of batches."""
    return ((batch.video_BTHWC, batch.audio_BL) for batch in clips)


def encode_batches(model: TwoTower, clips: Iterable[ClipBatch]) -> Pair:
    """What the encoders make of several batches, (float32 [N, C1], float32 [N, C2]) on the CPU: for the heads."""
    return _in_batches(model, model.encode, pairs_of(clips))


def project_features(model: TwoTower, features: Pair) -> Pair:
    """Embeddings, as of `embed_batches`, of features from `encode_batches`."""
    return _in_batches(model, model.project, [features])


def _in_batches(
    model: TwoTower, run: Callable[..., Pair], inputs: Iterable[Pair], batch_size: int = BATCH_SIZE
) -> Pair:
    of_video, of_audio = in_batches(model, run, inputs, batch_size)
    return of_video, of_audio


@torch.no_grad()
def in_batches(
    model: nn.Module, run: Callable[..., tuple[Tensor, ...]], inputs: Iterable[Pair], batch_size: int = BATCH_SIZE
) -> list[Tensor]:
    """What `run` makes of many clips, each of its tensors as float32 [N, ...] on the CPU; the model's mode is kept."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        made = [
            run(v.to(device), a.to(device))
            for video, audio in inputs
            for v, a in zip(video.split(batch_size), audio.split(batch_size), strict=True)
        ]
    finally:
        model.train(was_training)
    return [torch.cat(parts).float().cpu() for parts in zip(*made, strict=True)]


def close_gap(z_ND: Tensor, modality: str, centroids: dict[str, Tensor]) -> Tensor:
    """Embeddings shifted by half the difference of the centroids, towards the other modality; unit norm again.

    Args:
        centroids: [D] by modality, over training data (from the checkpoint).

    Raises:
        KeyError: the modality has no centroid.

    Source:
        Liang et al., "Mind the Gap", NeurIPS 2022.
    """
    (other,) = (m for m in MODALITIES if m != modality)
    return F.normalize(z_ND + (centroids[other] - centroids[modality]) / 2, dim=1)
