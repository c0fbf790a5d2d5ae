import numpy as np
import pytest
import torch

from mmcsal.selection.strategies import active_ft
from mmcsal.selection.strategies.active_ft import ActiveFtSpec, loss_and_gradient, move, rank_rows
from tests.selection.problems import clusters, problem_of, unit_rows

NONE_LD = np.zeros((0, 6), np.float32)


def torch_loss(vector_PD, joint_ND, fixed_LD, temperature):
    """As in the authors' code, with all similarities at once."""
    unit_PD = torch.nn.functional.normalize(vector_PD, dim=1)
    all_QD = torch.cat([unit_PD, torch.from_numpy(fixed_LD).double()])
    similarity_NQ = torch.from_numpy(joint_ND).double() @ all_QD.T / temperature
    pull_N, nearest_N = torch.exp(similarity_NQ).max(dim=1)
    push_P = torch.exp(all_QD.detach() @ unit_PD.T / temperature).sum(dim=0)
    mine_N = nearest_N < len(vector_PD)
    pull_M, push_M = pull_N[mine_N], push_P[nearest_N[mine_N]]
    return -torch.log(pull_M / (pull_M + push_M)).sum() / len(joint_ND)


@pytest.mark.parametrize("num_fixed", [0, 3])
def test_loss_and_gradient_against_autograd(num_fixed, monkeypatch):
    monkeypatch.setattr(active_ft, "CHUNK_ROWS", 16)
    joint_ND, theta_PD = unit_rows(50).astype(np.float32), 1.3 * unit_rows(7, seed=1)
    fixed_LD = unit_rows(num_fixed, seed=2).astype(np.float32)
    vector_PD = torch.from_numpy(theta_PD).requires_grad_()
    expected = torch_loss(vector_PD, joint_ND, fixed_LD, 0.2)
    expected.backward()
    loss, gradient_PD = loss_and_gradient(theta_PD, joint_ND, fixed_LD, 0.2)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient_PD, vector_PD.grad.numpy(), atol=1e-6)


def test_the_steps_are_those_of_torch():
    joint_ND = unit_rows(60).astype(np.float32)
    vector_PD = torch.nn.Parameter(torch.from_numpy(joint_ND[:5]).double())
    optimizer = torch.optim.Adam([vector_PD], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch_loss(vector_PD, joint_ND, NONE_LD, 0.1).backward()
        optimizer.step()
    spec = ActiveFtSpec(temperature=0.1, num_iterations=30, learning_rate=0.01)
    np.testing.assert_allclose(move(joint_ND, joint_ND[:5], NONE_LD, spec), vector_PD.detach().numpy(), atol=1e-4)


def test_vectors_spread_over_the_clusters():
    x_ND, label_N = clusters([40, 40, 40, 40])
    spec = ActiveFtSpec(learning_rate=0.03)
    found = [len(set(label_N[rank_rows(problem_of(x_ND, 4, seed=seed), spec)])) for seed in range(5)]
    assert np.mean(found) > 3.5


def test_labeled_rows_push():
    x_ND, label_N = clusters([40, 40])
    labeled = np.flatnonzero(label_N == 0)[:3]
    rows = rank_rows(problem_of(x_ND, 1, labeled=labeled), ActiveFtSpec(learning_rate=0.03))
    assert label_N[rows].tolist() == [1]
