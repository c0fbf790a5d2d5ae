import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.losses.swav import Swav, SwavSpec, sinkhorn, swav_loss


def unit_rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def plain_sinkhorn(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """The paper's own form, exponentiated, in float64."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    num_prototypes, num_rows = q.shape
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * num_prototypes
        q /= q.sum(axis=0, keepdims=True) * num_rows
    return (q * num_rows).T


@given(n=st.integers(2, 20), k=st.integers(2, 8), seed=st.integers(0, 99), iterations=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_sinkhorn_equals_the_plain_form(n, k, seed, iterations):
    scores = unit_rows(n, 6, seed) @ unit_rows(k, 6, seed + 1).T
    expected = plain_sinkhorn(scores.numpy(), 0.05, iterations)
    np.testing.assert_allclose(sinkhorn(scores, 0.05, iterations).numpy(), expected, rtol=1e-9, atol=1e-14)


def test_sinkhorn_shares_rows_out_equally():
    q_BK = sinkhorn(unit_rows(64, 8, 0) @ unit_rows(16, 8, 1).T, 0.05, 200)
    torch.testing.assert_close(q_BK.sum(dim=1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(q_BK.sum(dim=0), torch.full((16,), 4.0, dtype=torch.float64), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("epsilon", [0.05, 0.01, 0.005])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sinkhorn_stays_finite(epsilon, dtype):
    """Also where all rows sit at one prototype: exp(1 / .005) is far beyond float32."""
    scores = torch.full((32, 8), -1.0)
    scores[:, 0] = 1.0
    q_BK = sinkhorn(scores.to(dtype), epsilon, 3)
    assert q_BK.dtype == torch.float32
    assert torch.isfinite(q_BK).all()
    torch.testing.assert_close(q_BK.sum(dim=1), torch.ones(32))


def test_sinkhorn_is_wide_inside_autocast():
    scores = unit_rows(16, 8, 0, torch.float32) @ unit_rows(4, 8, 1, torch.float32).T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sinkhorn(scores, 0.01, 3)
    torch.testing.assert_close(inside, sinkhorn(scores, 0.01, 3))


def test_loss_equals_the_definition():
    spec = SwavSpec(num_prototypes=5)
    z1, z2, c = unit_rows(12, 6, 0), unit_rows(12, 6, 1), unit_rows(5, 6, 2)
    s1, s2 = (z1 @ c.T).numpy(), (z2 @ c.T).numpy()
    q1, q2 = plain_sinkhorn(s1, 0.05, 3), plain_sinkhorn(s2, 0.05, 3)
    log_p1, log_p2 = (s / 0.1 - np.log(np.exp(s / 0.1).sum(axis=1, keepdims=True)) for s in (s1, s2))
    expected = -0.5 * ((q2 * log_p1).sum(axis=1) + (q1 * log_p2).sum(axis=1)).mean()
    assert swav_loss(z1, z2, c, spec).item() == pytest.approx(expected, rel=1e-9)


def test_order_of_samples_and_views_does_not_matter():
    spec = SwavSpec(num_prototypes=5)
    z1, z2, c = unit_rows(12, 6, 0), unit_rows(12, 6, 1), unit_rows(5, 6, 2)
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    expected = swav_loss(z1, z2, c, spec)
    torch.testing.assert_close(swav_loss(z1[shuffled], z2[shuffled], c, spec), expected)
    torch.testing.assert_close(swav_loss(z2, z1, c, spec), expected)


def test_prototypes_get_gradient_and_return_to_the_sphere():
    swav = Swav(SwavSpec(num_prototypes=5), embedding_width=6)
    swav(unit_rows(8, 6, 0, torch.float32), unit_rows(8, 6, 1, torch.float32)).backward()
    assert swav.prototypes.grad.abs().sum() > 0
    swav.prototypes.data.mul_(3)
    swav.before_step()
    torch.testing.assert_close(swav.prototypes.norm(dim=1), torch.ones(5))


def test_a_full_queue_weighs_in_the_assignment_and_nothing_else():
    spec = SwavSpec(num_prototypes=5, queue_rows=6)
    z1, z2, queued, c = unit_rows(4, 6, 0), unit_rows(4, 6, 1), unit_rows(6, 6, 3), unit_rows(5, 6, 2)
    expected = 0.0
    for ahead, behind in ((z1, z2), (z2, z1)):
        scores = torch.cat((ahead, queued)) @ c.T
        q = torch.from_numpy(plain_sinkhorn(scores.numpy(), 0.05, 3))[:4]
        expected -= (q * F.log_softmax(behind @ c.T / 0.1, dim=1)).sum(dim=1).mean() / 2
    torch.testing.assert_close(swav_loss(z1, z2, c, spec, queued), expected)


def test_the_queue_holds_the_newest_rows_and_is_used_once_it_is_full():
    swav = Swav(SwavSpec(num_prototypes=5, queue_rows=6), embedding_width=6).double()
    steps = [unit_rows(4, 6, seed) for seed in range(3)]
    losses = [swav(z, z).item() for z in steps]
    torch.testing.assert_close(swav.queue_QD, torch.cat((steps[2], steps[1][:2])))
    plain = [swav_loss(z, z, swav.prototypes, swav.spec).item() for z in steps]
    assert losses[:2] == pytest.approx(plain[:2])
    full_QD = torch.cat((steps[1], steps[0][:2]))
    assert losses[2] == pytest.approx(swav_loss(steps[2], steps[2], swav.prototypes, swav.spec, full_QD).item())
    assert losses[2] != pytest.approx(plain[2])
    swav.eval()(steps[0], steps[0])
    torch.testing.assert_close(swav.queue_QD, torch.cat((steps[2], steps[1][:2])), msg="only training fills it")
