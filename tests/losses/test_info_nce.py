import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.losses.info_nce import MAX_LOG_SCALE, InfoNce, InfoNceSpec, info_nce, own_log_p


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(x, dim=1)


def reference(a: np.ndarray, b: np.ndarray, scale: float) -> float:
    """By the definition, one row and one direction at a time."""
    total = 0.0
    for x, y in ((a, b), (b, a)):
        for i in range(len(x)):
            weights = [math.exp(scale * float(x[i] @ y[j])) for j in range(len(y))]
            total -= math.log(weights[i] / sum(weights))
    return total / (2 * len(a))


@given(n=st.integers(1, 9), d=st.integers(2, 6), seed=st.integers(0, 99), scale=st.floats(1, 30))
@settings(max_examples=40, deadline=None)
def test_equals_the_definition(n, d, seed, scale):
    a, b = unit_rows(n, d, seed), unit_rows(n, d, seed + 1)
    assert info_nce(a, b, scale).item() == pytest.approx(reference(a.numpy(), b.numpy(), scale), rel=1e-10)


def test_order_of_pairs_and_of_modalities_does_not_matter():
    a, b = unit_rows(12, 5, 0), unit_rows(12, 5, 1)
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    expected = info_nce(a, b, 5.0)
    torch.testing.assert_close(info_nce(a[shuffled], b[shuffled], 5.0), expected)
    torch.testing.assert_close(info_nce(b, a, 5.0), expected)


def test_right_pairs_cost_less_than_wrong_ones():
    a = unit_rows(8, 16, 0)
    assert info_nce(a, a, 10.0) < info_nce(a, a.roll(1, 0), 10.0)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        info_nce(unit_rows(3, 4, 0), unit_rows(2, 4, 0), 1.0)
    with pytest.raises(ValueError, match="equal shapes"):
        info_nce(torch.empty(0, 4), torch.empty(0, 4), 1.0)


def test_scale_is_fixed_by_default_and_learned_when_asked():
    assert list(InfoNce(InfoNceSpec()).parameters()) == []
    learned = InfoNce(InfoNceSpec(temperature=0.07, learn_temperature=True))
    a, b = unit_rows(6, 4, 0).float(), unit_rows(6, 4, 1).float()
    learned(a, b).backward()
    assert learned.temperature == pytest.approx(0.07)
    assert learned.log_scale.grad.abs() > 0


def test_scale_is_clamped_at_both_ends():
    loss = InfoNce(InfoNceSpec(learn_temperature=True))
    for given_scale, expected in ((9.0, MAX_LOG_SCALE), (-2.0, 0.0), (1.5, 1.5)):
        loss.log_scale.data.fill_(given_scale)
        loss.clamp_scale()
        assert loss.log_scale.item() == pytest.approx(expected)


def test_own_log_p_is_that_of_each_row_and_its_mean_the_loss():
    a, b = unit_rows(5, 4, 0), unit_rows(5, 4, 1)
    logits = 5.0 * a @ b.T
    expected = [(logits.log_softmax(1)[i, i] + logits.log_softmax(0)[i, i]).item() / 2 for i in range(5)]
    found = own_log_p(a, b, 5.0)
    assert found.tolist() == pytest.approx(expected)
    assert info_nce(a, b, 5.0).item() == pytest.approx(-sum(expected) / 5)
