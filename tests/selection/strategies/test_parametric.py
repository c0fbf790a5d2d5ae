import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmcsal.selection.numerics.quantize import quantize
from mmcsal.selection.strategies import parametric
from mmcsal.selection.strategies.parametric import (
    ParametricSpec,
    loss_and_gradient,
    make_problem,
    nearest_distinct,
    optimise_parameters,
    order_by_mass,
)

NONE_LD = np.zeros((0, 8))
FAST = ParametricSpec(num_iterations=100)


def unit(x_ND):
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def rows_of(num_rows, width, seed):
    return unit(np.random.default_rng(seed).normal(size=(num_rows, width)))


def clusters(sizes, *, seed=0, width=8, noise=0.1):
    """Rows in random order around orthogonal centres, and the cluster of each."""
    rng = np.random.default_rng(seed)
    label_N = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return unit(np.eye(width)[label_N] + noise * rng.normal(size=(len(label_N), width))).astype(np.float32), label_N


def random_problem(seed, *, num_labeled=3, lambda_div=0.7, lambda_align=0.4, bandwidth=0.2):
    """A float64 problem of 40 rows of width 5, and 6 vectors."""
    rng = np.random.default_rng(seed)
    joint_ND, fixed_LD = rows_of(40, 5, seed), rows_of(num_labeled, 5, seed + 1)
    spec = ParametricSpec(bandwidth=bandwidth, lambda_div=lambda_div)
    problem = make_problem(joint_ND, rng.random(40) * 3, rng.random(40), fixed_LD, spec, lambda_align)
    return problem, rows_of(6, 5, seed + 2)


def torch_loss(x_PD, problem):
    """The loss from its definition, by logsumexp and softmax over all pairs at once, in float64."""
    joint, weight, alignment, fixed = (
        torch.from_numpy(x) for x in (problem.joint_ND, problem.weight_N, problem.alignment_N, problem.fixed_LD)
    )
    theta, t = torch.nn.functional.normalize(x_PD, dim=1), problem.bandwidth
    everyone = torch.cat([theta, fixed])
    dist = -(weight * t * torch.logsumexp(joint @ everyone.T / t, dim=1)).sum()
    div = (t * torch.logsumexp((theta @ everyone.T - 1) / t, dim=1)).mean()
    share_PN = torch.softmax(theta @ joint.T / t + torch.log(weight), dim=1)
    return dist + problem.lambda_div * div - problem.lambda_align * (share_PN @ alignment).mean()


@pytest.mark.parametrize("num_labeled", [0, 3])
@pytest.mark.parametrize("weights", [(0.7, 0.4), (0.0, 0.4), (0.7, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_are_those_of_autograd(seed, weights, num_labeled):
    problem, theta_PD = random_problem(seed, num_labeled=num_labeled, lambda_div=weights[0], lambda_align=weights[1])
    x_PD = torch.from_numpy(theta_PD).requires_grad_()
    expected = torch_loss(x_PD, problem)
    expected.backward()
    loss, gradient_PD = loss_and_gradient(theta_PD, problem)
    assert loss == pytest.approx(expected.item(), abs=1e-9)
    np.testing.assert_allclose(gradient_PD, x_PD.grad.numpy(), atol=1e-9)


def test_float32_is_within_1e_5_of_autograd():
    joint_ND, _ = clusters([300, 200, 100, 50], noise=0.4)
    alignment_N = np.random.default_rng(1).random(len(joint_ND))
    problems = [
        make_problem(x_ND, np.ones(len(x_ND)), alignment_N, x_ND[:5], ParametricSpec(), 0.25)
        for x_ND in (joint_ND, joint_ND.astype(np.float64))
    ]
    x_PD = torch.from_numpy(joint_ND[10:30].astype(np.float64)).requires_grad_()
    expected = torch_loss(x_PD, problems[1])
    expected.backward()
    loss, gradient_PD = loss_and_gradient(joint_ND[10:30], problems[0])
    assert loss == pytest.approx(expected.item(), abs=1e-5)
    np.testing.assert_allclose(gradient_PD, x_PD.grad.numpy(), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_gradient_is_the_slope_of_the_loss(seed, bandwidth):
    problem, theta_PD = random_problem(seed, bandwidth=bandwidth)
    step_PD = 1e-5 * np.random.default_rng(seed).normal(size=theta_PD.shape)
    ahead, behind = (loss_and_gradient(unit(theta_PD + sign * step_PD), problem)[0] for sign in (1, -1))
    slope = (loss_and_gradient(theta_PD, problem)[1] * step_PD).sum()
    assert (ahead - behind) / 2 == pytest.approx(slope, rel=1e-5, abs=1e-12)


def test_chunks_do_not_change_the_loss(monkeypatch):
    problem, theta_PD = random_problem(0)
    whole, whole_PD = loss_and_gradient(theta_PD, problem)
    monkeypatch.setattr(parametric, "MIN_CHUNK_ROWS", 1)
    monkeypatch.setattr(parametric, "CHUNK_PAIRS", 30)
    loss, gradient_PD = loss_and_gradient(theta_PD, problem)
    assert loss == pytest.approx(whole, abs=1e-12)
    np.testing.assert_allclose(gradient_PD, whole_PD, atol=1e-12)


def test_the_loss_falls(views, reference):
    pool = views(600, misaligned=0.1)
    joint_ND = reference[0](pool).astype(np.float32)
    args = (joint_ND, np.ones(600), 1.0 - pool.is_misaligned_N, joint_ND[-20:])
    problem = make_problem(*args, ParametricSpec(), 0.25)
    losses = [
        loss_and_gradient(optimise_parameters(*args, 30, spec, 0.25, seed=0), problem)[0]
        for spec in (ParametricSpec(num_iterations=n) for n in (1, 10, 50, 300))
    ]
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] < losses[0] - 0.02  # of about -1.08


@pytest.mark.parametrize("seed", range(4))
def test_each_cluster_gets_a_pick(seed):
    joint_ND, label_N = clusters([40, 30, 20, 10], seed=seed)
    theta_PD = optimise_parameters(joint_ND, np.ones(100), np.ones(100), NONE_LD, 5, FAST, 0.25, seed)
    assert theta_PD.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(theta_PD, axis=1), 1, atol=1e-6)
    assert len(set(label_N[:5])) == 3  # the starts miss a cluster
    assert set(label_N[nearest_distinct(theta_PD, joint_ND, np.ones(100, bool))]) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(4))
def test_labeled_clusters_get_no_pick(seed):
    joint_ND, label_N = clusters([40, 30, 20, 10], seed=seed)
    is_open_N = np.ones(100, bool)
    for label in (0, 1):
        is_open_N[np.flatnonzero(label_N == label)[:10]] = False
    args = (joint_ND, np.ones(100), np.ones(100))
    blind_PD = optimise_parameters(*args, NONE_LD, 2, FAST, 0.25, seed, is_open_N=is_open_N)
    theta_PD = optimise_parameters(*args, joint_ND[~is_open_N], 2, FAST, 0.25, seed, is_open_N=is_open_N)
    assert 0 in label_N[nearest_distinct(blind_PD, joint_ND, is_open_N)]
    assert set(label_N[nearest_distinct(theta_PD, joint_ND, is_open_N)]) == {2, 3}


@pytest.mark.parametrize("seed", range(3))
def test_alignment_lowers_the_share_of_misaligned_picks(views, reference, seed):
    pool = views(500, seed=seed, misaligned=0.2)
    joint_ND, everyone = reference[0](pool).astype(np.float32), np.ones(500, bool)
    share = {}
    for weight in (0.0, 0.25):
        theta_PD = optimise_parameters(
            joint_ND, np.ones(500), 1.0 - pool.is_misaligned_N, joint_ND[:0], 60, FAST, weight, seed
        )
        share[weight] = pool.is_misaligned_N[nearest_distinct(theta_PD, joint_ND, everyone)].mean()
    assert share[0.25] < 0.6 * share[0.0]


def test_repulsion_keeps_vectors_apart():
    joint_ND, _ = clusters([100], noise=0.2)
    closest = {}
    for weight in (0.0, 1.0):
        spec = ParametricSpec(num_iterations=100, lambda_div=weight)
        theta_PD = optimise_parameters(joint_ND, np.ones(100), np.ones(100), NONE_LD, 4, spec, 0.0, seed=0)
        closest[weight] = np.max(theta_PD @ theta_PD.T - 2 * np.eye(4))
    assert closest[1.0] < closest[0.0] - 0.05


def test_equal_starts_part():
    joint_ND, label_N = clusters([30, 30])
    joint_ND[:4], label_N[:4] = joint_ND[0], label_N[0]
    theta_PD = optimise_parameters(joint_ND, np.ones(60), np.ones(60), NONE_LD, 4, FAST, 0.0, seed=3)
    assert np.max(theta_PD @ theta_PD.T - 2 * np.eye(4)) < 0.999
    assert len(set(label_N[nearest_distinct(theta_PD, joint_ND, np.ones(60, bool))])) == 2


def test_weights_count_as_copies():
    joint_ND, _ = clusters([12, 12], noise=0.3)
    alignment_N = np.random.default_rng(0).random(24)
    weight_N = np.random.default_rng(1).integers(1, 4, 24)
    copies = np.repeat(np.arange(24), weight_N)
    problems = [
        make_problem(joint_ND[rows].astype(float), weights, alignment_N[rows], joint_ND[:2], ParametricSpec(), 0.3)
        for rows, weights in ((np.arange(24), weight_N), (copies, np.ones(len(copies))))
    ]
    theta_PD = rows_of(3, 8, 0)
    (loss, gradient_PD), (copied, copied_PD) = (loss_and_gradient(theta_PD, p) for p in problems)
    assert loss == pytest.approx(copied, abs=1e-12)
    np.testing.assert_allclose(gradient_PD, copied_PD, atol=1e-12)


def test_the_same_input_gives_the_same_vectors():
    joint_ND, _ = clusters([30, 20, 10])
    found = [
        optimise_parameters(joint_ND, np.ones(60), np.ones(60), NONE_LD, 3, FAST, 0.25, seed) for seed in (0, 0, 1)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def plain_nearest_distinct(theta_PD, joint_ND, is_open_N):
    """The nearest pair of a free vector and a free row, again and again, from all distances in Python integers."""
    theta, joint = (quantize(x).astype(np.int64) for x in (theta_PD, joint_ND))
    pairs = sorted(
        (int(((theta[p] - joint[n]) ** 2).sum()), int(n), p)
        for p in range(len(theta))
        for n in np.flatnonzero(is_open_N)
    )
    found = {}
    for _, n, p in pairs:
        if p not in found and n not in found.values():
            found[p] = n
    return [found[p] for p in range(len(theta))]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.booleans())
def test_nearest_distinct_is_the_plain_greedy(seed, num_rows, has_ties):
    rng = np.random.default_rng(seed)
    is_open_N = rng.random(num_rows) < 0.8
    is_open_N[0] = True
    joint_ND, theta_PD = rows_of(num_rows, 3, seed), rows_of(rng.integers(1, is_open_N.sum() + 1), 3, seed + 1)
    if has_ties:
        joint_ND, theta_PD = (unit(np.rint(1.5 * x) + np.array([0, 0, 0.5])) for x in (joint_ND, theta_PD))
    rows_P = nearest_distinct(theta_PD, joint_ND, is_open_N)
    assert rows_P.dtype == np.int64
    assert rows_P.tolist() == plain_nearest_distinct(theta_PD, joint_ND, is_open_N)


def test_of_equally_near_vectors_the_lower_one_takes_the_row():
    angle = np.array([0.3, -0.3, 0.5, 0.5, 0.0, np.pi])  # of 3 vectors, then of 3 rows
    theta_PD, joint_ND = np.split(np.stack([np.cos(angle), np.sin(angle)], axis=1), 2)
    # Vector 2 takes row 0, the first choice of vector 0, which then asks row 1 after vector 1 did, as near as it.
    assert nearest_distinct(theta_PD, joint_ND, np.ones(3, bool)).tolist() == [1, 2, 0]


def test_nearest_distinct_does_not_depend_on_chunks(monkeypatch):
    joint_ND, theta_PD = rows_of(200, 4, 0), rows_of(150, 4, 1)
    whole = nearest_distinct(theta_PD, joint_ND, np.ones(200, bool))
    monkeypatch.setattr(parametric, "NEAREST_PAIRS", 700)
    assert np.array_equal(nearest_distinct(theta_PD, joint_ND, np.ones(200, bool)), whole)


def test_more_vectors_than_open_rows_are_refused():
    with pytest.raises(ValueError, match="3 vectors, but only 2 open rows"):
        nearest_distinct(rows_of(3, 4, 0), rows_of(5, 4, 1), np.arange(5) < 2)


@pytest.mark.parametrize("num_labeled", [0, 4])
def test_order_is_by_falling_mass(num_labeled):
    joint_ND, fixed_LD = rows_of(120, 4, 0), rows_of(num_labeled, 4, 1)
    weight_N = np.random.default_rng(2).random(120)
    rows_P = np.random.default_rng(3).choice(120, 9, replace=False)
    owner_N = np.argmax(joint_ND @ np.concatenate([joint_ND[rows_P], fixed_LD]).T, axis=1)
    mass_P = np.array([weight_N[owner_N == p].sum() for p in range(9)])
    assert order_by_mass(rows_P, joint_ND, weight_N, fixed_LD).tolist() == np.argsort(-mass_P).tolist()


def test_equal_masses_are_in_the_order_of_rows():
    joint_ND = np.repeat(np.eye(3), 2, axis=0)
    assert order_by_mass(np.array([4, 0, 2]), joint_ND, np.ones(6), np.zeros((0, 3))).tolist() == [1, 2, 0]


@pytest.mark.parametrize("bad", [{"bandwidth": 0.001}, {"num_iterations": 0}, {"lambda_div": -1}, {"kind": "x"}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        ParametricSpec(**bad)
