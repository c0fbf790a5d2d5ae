import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.losses.pcl import Pcl, PclSpec, concentrations, pcl_loss


def unit_rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def test_loss_equals_the_definition():
    z, c = unit_rows(12, 6, 0), unit_rows(5, 6, 1)
    phi = torch.linspace(0.1, 0.5, 5, dtype=torch.float64)
    assigned = torch.arange(12) % 5
    logits = (z @ c.T).numpy() / phi.numpy()
    expected = np.mean(
        [-np.log(np.exp(row[k]) / np.exp(row).sum()) for row, k in zip(logits, assigned.tolist(), strict=True)]
    )
    assert pcl_loss(z, c, phi, assigned).item() == pytest.approx(expected, rel=1e-12)


def test_order_of_samples_does_not_matter_and_samples_without_a_centre_count_as_zero():
    z, c, phi = unit_rows(12, 6, 0), unit_rows(5, 6, 1), torch.full((5,), 0.2, dtype=torch.float64)
    assigned = torch.arange(12) % 5
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    expected = pcl_loss(z, c, phi, assigned)
    torch.testing.assert_close(pcl_loss(z[shuffled], c, phi, assigned[shuffled]), expected)
    half = torch.where(torch.arange(12) < 6, assigned, -1)
    torch.testing.assert_close(pcl_loss(z, c, phi, half), pcl_loss(z[:6], c, phi, assigned[:6]) / 2)


def test_concentrations_equal_the_definition():
    x, c = unit_rows(300, 6, 0), unit_rows(8, 6, 1)
    nearest = (x @ c.T).argmax(dim=1)
    phi = []
    for k in range(8):
        rows = x[nearest == k]
        phi.append(((rows - c[k]).norm(dim=1).mean() / np.log(len(rows) + 10)).item())
    phi = np.clip(phi, np.quantile(phi, 0.1), np.quantile(phi, 0.9))
    found = concentrations(x, c, 0.3)
    np.testing.assert_allclose(found, 0.3 * phi / phi.mean(), rtol=1e-9)


def test_concentrations_of_empty_and_single_clusters_and_of_points_are_finite():
    c = unit_rows(4, 6, 1)
    for rows in (c[:1].repeat(9, 1), torch.cat((c[:1], unit_rows(9, 6, 2)))):
        found = concentrations(rows, c, 0.2)
        assert torch.isfinite(found).all()
        assert (found > 0).all()


def test_before_the_first_fit_the_loss_is_zero_and_afterwards_it_draws_samples_to_their_centres():
    pcl = Pcl(PclSpec(num_prototypes=4), embedding_width=6)
    z = unit_rows(40, 6, 0, torch.float32).requires_grad_()
    assert pcl(z, z, None).item() == 0.0
    assert pcl.current_KD is None
    pcl.refit(z.detach())
    assigned = pcl.assign(z.detach())
    torch.testing.assert_close(assigned, (z @ pcl.current_KD.T).argmax(dim=1))
    before = pcl(z, z, assigned)
    before.backward()
    moved = F.normalize(z - 0.5 * z.grad * len(z), dim=1)
    assert pcl(moved, moved, assigned) < before
    torch.testing.assert_close(before.detach(), pcl_loss(z, pcl.current_KD, pcl.concentration_K, assigned).detach())


def test_fewer_samples_than_prototypes():
    pcl = Pcl(PclSpec(num_prototypes=64), embedding_width=6)
    pcl.refit(unit_rows(10, 6, 0, torch.float32))
    assert pcl.current_KD.shape == (10, 6)
    loss = pcl(unit_rows(10, 6, 0, torch.float32), unit_rows(10, 6, 0, torch.float32), torch.arange(10))
    assert torch.isfinite(loss)


def test_the_objective_takes_either_kind_and_passes_the_assignment_on():
    spec = MmsslSpec.model_validate({"proto": {"kind": "pcl", "num_prototypes": 4}})
    objective = MmsslObjective(spec, ("video", "audio"), 6).double()
    views = [(unit_rows(10, 6, s), unit_rows(10, 6, s + 1)) for s in (0, 2)]
    assert objective(*views)[1]["proto"].item() == 0.0
    for prototypes in objective.proto.values():
        prototypes.refit(unit_rows(40, 6, 9))
    assigned = {m: torch.arange(10) % 4 for m in ("video", "audio")}
    assert objective(*views, assigned)[1]["proto"].item() > 0.5
    assert objective.frozen_parameters(0) == []
