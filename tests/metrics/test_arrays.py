"""The metrics of a space give the same of numpy's arrays as of PyTorch's tensors, and in kind."""

import numpy as np
import pytest
import torch

from mmcsal.metrics import (
    class_recall_at_1,
    effective_rank,
    modality_gap,
    positive_pair_distance,
    recall_at_1,
    uniformity,
)

METRICS = {
    "positive_pair_distance": lambda a, b, labels: positive_pair_distance(a, b),
    "modality_gap": lambda a, b, labels: modality_gap(a, b),
    "uniformity": lambda a, b, labels: uniformity(a),
    "effective_rank": lambda a, b, labels: effective_rank(a),
    "recall_at_1": lambda a, b, labels: recall_at_1(a, b),
    "class_recall_at_1": class_recall_at_1,
}


def space(dtype: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a_ND = rng.normal(size=(5000, 6))[:300]
    b_ND = a_ND + rng.normal(size=(300, 6))
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype) for x in (a_ND, b_ND)]
    return unit[0], unit[1], rng.integers(0, 4, 300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", METRICS)
def test_arrays_and_tensors_are_measured_alike(name, dtype):
    arrays = space(dtype)
    of_arrays, of_tensors = METRICS[name](*arrays), METRICS[name](*map(torch.tensor, arrays))
    assert isinstance(of_arrays, np.floating)
    assert isinstance(of_tensors, torch.Tensor)
    assert float(of_arrays) == pytest.approx(float(of_tensors), rel=1e-5)
    assert 0 < abs(float(of_arrays)) < 8


@pytest.mark.parametrize("name", ["positive_pair_distance", "modality_gap", "uniformity", "effective_rank"])
def test_tensors_keep_their_gradient(name):
    a_ND, b_ND, labels_N = map(torch.tensor, space("float32"))
    METRICS[name](a_ND.requires_grad_(), b_ND, labels_N).backward()
    assert a_ND.grad is not None
    assert a_ND.grad.isfinite().all()


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_what_does_not_fit_is_told_for_both(kind):
    a_ND, b_ND, labels_N = space("float32")
    with pytest.raises(ValueError, match="two equal shapes"):
        modality_gap(kind(a_ND), kind(b_ND[1:]))
    with pytest.raises(ValueError, match="integer labels"):
        class_recall_at_1(kind(a_ND), kind(b_ND), kind(labels_N / 2))
    with pytest.raises(ValueError, match="N >= 2"):
        uniformity(kind(a_ND[:1]))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_points_in_one_place(kind):
    x_ND = kind(np.tile(np.float32([[0.6, 0.8]]), (4, 1)))
    assert float(uniformity(x_ND)) == pytest.approx(0, abs=1e-6)
    assert float(effective_rank(kind(np.ones((4, 2))))) == 1
