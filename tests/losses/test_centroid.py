import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.losses.centroid import centroid_loss
from mmcsal.metrics import modality_gap


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_by_hand():
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[-1.0, 0.0], [0.0, -1.0]])
    assert centroid_loss(a, b).item() == pytest.approx(2.0)  # (.5, .5) against (-.5, -.5)
    assert centroid_loss(a, a.flip(0)).item() == 0.0
    with pytest.raises(ValueError, match="equal shapes"):
        centroid_loss(a, b[:1])


@given(n=st.integers(1, 20), d=st.integers(2, 8), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_it_is_the_squared_gap_and_the_order_of_samples_does_not_matter(n, d, seed):
    a, b = unit_rows(n, d, seed), unit_rows(n, d, seed + 1)
    expected = np.sum((a.numpy().mean(axis=0) - b.numpy().mean(axis=0)) ** 2)
    assert centroid_loss(a, b).item() == pytest.approx(expected, abs=1e-12)
    assert centroid_loss(a, b).item() == pytest.approx(modality_gap(a, b).item() ** 2, abs=1e-12)
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert centroid_loss(a[shuffled], b).item() == pytest.approx(expected, abs=1e-12)


def test_a_step_down_its_gradient_brings_the_centroids_closer():
    a, b = unit_rows(10, 4, 0).requires_grad_(), unit_rows(10, 4, 1)
    before = centroid_loss(a, b)
    before.backward()
    assert centroid_loss(a.detach() - a.grad, b) < before
