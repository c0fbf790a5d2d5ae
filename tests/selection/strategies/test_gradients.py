"""Strategies that draw samples by their gradients: BADGE, BMMAL."""

import itertools

import numpy as np
import torch

from mmcsal.selection.strategies import badge, bmmal
from mmcsal.selection.strategies.classifier import features
from mmcsal.selection.strategies.gradient_draws import draw_gradients
from tests.selection.problems import classifier_of, problem_of, unit_rows

CLASSIFIER = classifier_of()


def gradients_by_autograd(x_ND, head, guess_N):
    """Of the loss in the coefficients, for a guessed class, one row after the other: [N, D * C]."""
    found = []
    for x_D, guess in zip(x_ND, guess_N, strict=True):
        weight = torch.from_numpy(head.weight_DY).clone().requires_grad_()
        logits = torch.from_numpy(x_D) @ weight + torch.from_numpy(head.bias_Y)
        torch.nn.functional.cross_entropy(logits, torch.tensor(int(guess))).backward()
        found.append(weight.grad.numpy().ravel())
    return np.array(found)


def plus_plus(vectors, num_draws, rng):
    """k-means++ from the longest vector, on the vectors themselves."""
    rows = [int(np.linalg.norm(vectors, axis=1).argmax())]
    while len(rows) < num_draws:
        square = [min(((v - vectors[r]) ** 2).sum() for r in rows) for v in vectors]
        reached = np.cumsum(np.where(np.isin(np.arange(len(vectors)), rows), 0, square))
        rows.append(int(np.searchsorted(reached, rng.random() * reached[-1], side="right")))
    return rows


def test_badge_against_the_gradients_themselves():
    problem = problem_of(unit_rows(40), 10, labeled=[3, 4], classifier=CLASSIFIER)
    open_C = np.flatnonzero(problem.is_open_N)
    x_ND = features(problem.joint_ND[open_C])
    vectors = gradients_by_autograd(x_ND, CLASSIFIER.both, CLASSIFIER.both.logits(x_ND).argmax(axis=1))
    expected = open_C[plus_plus(vectors, 10, np.random.default_rng(problem.seed))]
    assert badge.rank_rows(problem, badge.BadgeSpec()).tolist() == expected.tolist()


def test_contributions_are_shapley_values():
    x_ND = unit_rows(20)
    value = {
        players: CLASSIFIER.both.probabilities(
            np.hstack([view * (m in players) for m, view in enumerate(CLASSIFIER.views(x_ND))])
        )
        for players in ((), (0,), (1,), (0, 1))
    }
    phi = [np.zeros((20, 4)), np.zeros((20, 4))]
    for order in itertools.permutations((0, 1)):
        present: tuple[int, ...] = ()
        for player in order:
            after = tuple(sorted((*present, player)))
            phi[player] += (value[after] - value[present]) / 2
            present = after
    expected = np.abs(phi[0]) / (np.abs(phi[0]) + np.abs(phi[1]))
    first, second = bmmal.contributions(CLASSIFIER, x_ND)
    np.testing.assert_allclose(first, expected)
    np.testing.assert_allclose(first + second, 1)


def test_bmmal_against_the_gradients_themselves():
    problem = problem_of(unit_rows(40), 10, classifier=CLASSIFIER)
    x_ND = features(problem.joint_ND)
    guess_N, parts = CLASSIFIER.both.logits(x_ND).argmax(axis=1), []
    shares = bmmal.contributions(CLASSIFIER, x_ND)
    for head, view_ND, share_NC in zip(CLASSIFIER.alone, CLASSIFIER.views(x_ND), shares, strict=True):
        gradient = gradients_by_autograd(view_ND, head, guess_N).reshape(40, 3, 4)
        parts.append((gradient * share_NC[:, None, :]).reshape(40, -1))
    expected = plus_plus(np.hstack(parts), 10, np.random.default_rng(problem.seed))
    assert bmmal.rank_rows(problem, bmmal.BmmalSpec()).tolist() == expected


def test_copies_are_drawn_last_but_drawn():
    error_NC, x_ND = np.repeat(unit_rows(3, width=4), 2, axis=0), np.repeat(unit_rows(3, seed=1), 2, axis=0)
    rows = draw_gradients([(error_NC, x_ND)], 6, np.random.default_rng(0))
    assert sorted(rows) == list(range(6))
    assert len(set(rows[:3] // 2)) == 3
