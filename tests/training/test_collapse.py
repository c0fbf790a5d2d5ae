"""Each sign of collapse is told for embeddings that have it, and for no healthy ones."""

import pytest
import torch
import torch.nn.functional as F

from mmcsal.metrics import prototype_usage
from mmcsal.training.collapse import collapse_warnings
from mmcsal.training.evaluate import embedding_metrics


def rows(n: int = 200, d: int = 16, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def warnings(video_ND: torch.Tensor, audio_ND: torch.Tensor, epoch: int = 3, **figures: float) -> list[str]:
    measured = embedding_metrics(video_ND, audio_ND) | figures
    return collapse_warnings(measured, num_clips=len(video_ND), epoch=epoch)


def test_healthy_embeddings_have_no_sign():
    z = rows()
    assert warnings(z, F.normalize(z + 0.1 * rows(seed=1), dim=1), prototype_usage_video=0.6) == []


def test_one_point():
    point = F.normalize(torch.ones(200, 16) + 0.01 * rows(seed=2), dim=1)
    found = warnings(rows(), point)
    assert any("all audio embeddings are nearly one point" in w for w in found)
    assert not any("video embeddings" in w for w in found)


def test_an_arc():
    angle_N = torch.linspace(0, 3, 200)
    arc = torch.stack((angle_N.cos(), angle_N.sin(), *[torch.zeros(200)] * 14), dim=1)
    (found,) = warnings(arc, arc)[:1]
    assert "the video embeddings use 1" in found
    assert "pretrain.learning_rate" in found


def test_one_prototype_for_all():
    z = rows()
    usage = prototype_usage(z[:1].repeat(200, 1), rows(64, seed=3)).item()
    (found,) = warnings(z, z, prototype_usage_audio=usage)
    assert "the audio samples share 1.6% of the prototypes" in found


@pytest.mark.parametrize(("epoch", "told"), [(0, False), (1, True)])
def test_retrieval_like_guessing_is_told_from_the_second_epoch_on(epoch, told):
    z, other = rows(), rows(seed=5)
    figures = {"recall_at_1_video_to_audio": 1 / 200, "recall_at_1_audio_to_video": 0.0}
    found = warnings(z, other, epoch=epoch, **figures)
    assert any("no better than guessing" in w for w in found) == told
