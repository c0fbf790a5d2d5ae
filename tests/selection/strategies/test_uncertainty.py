"""Strategies that score every sample by itself: entropy, margin, BALD, DeepFool."""

import numpy as np
import pytest
from scipy import stats

from mmcsal.selection.strategies import bald, deep_fool, entropy, margin
from mmcsal.selection.strategies.classifier import features
from tests.selection.problems import classifier_of, problem_of, unit_rows

CLASSIFIER = classifier_of()
NUM_PICKS = 9


@pytest.fixture
def problem():
    return problem_of(unit_rows(60), NUM_PICKS, labeled=[1, 2], closed=[7], classifier=CLASSIFIER)


def best(problem, scores):
    """Rows of highest score, each found anew."""
    left, rows = [n for n in range(60) if problem.is_open_N[n]], []
    while len(rows) < NUM_PICKS:
        rows.append(max(left, key=lambda n: scores[n]))
        left.remove(rows[-1])
    return rows


def probabilities(problem):
    return CLASSIFIER.both.probabilities(features(problem.joint_ND))


def test_entropy(problem):
    scores = stats.entropy(probabilities(problem), axis=1)
    assert entropy.rank_rows(problem, entropy.EntropySpec()).tolist() == best(problem, scores)


def test_margin(problem):
    scores = [sorted(row)[-2] - sorted(row)[-1] for row in probabilities(problem)]
    assert margin.rank_rows(problem, margin.MarginSpec()).tolist() == best(problem, scores)


def test_bald(problem):
    spec = bald.BaldSpec(num_draws=7, dropout=0.3)
    rng, x_ND = np.random.default_rng(problem.seed), features(problem.joint_ND)
    draws = []
    for _ in range(7):
        kept = [value >= 0.3 for value in rng.random(6)]
        draws.append([CLASSIFIER.both.probabilities(np.where(kept, x_D / 0.7, 0)[None])[0] for x_D in x_ND])
    draws = np.array(draws)
    scores = stats.entropy(draws.mean(axis=0), axis=1) - stats.entropy(draws, axis=2).mean(axis=0)
    assert bald.rank_rows(problem, spec).tolist() == best(problem, scores)


def test_bald_prefers_disagreement_to_doubt():
    """A sample that every draw calls half and half has all the entropy there is, and nothing to teach."""
    problem = problem_of(unit_rows(2), 1, classifier=CLASSIFIER)
    x_2D = np.zeros((2, 6))
    x_2D[0], x_2D[1, 0] = 0, 1
    object.__setattr__(problem, "joint_ND", (x_2D * 2828).astype(np.int16))
    assert bald.rank_rows(problem, bald.BaldSpec()).tolist() == [1]


def test_deep_fool(problem):
    x_ND = features(problem.joint_ND)
    distances = deep_fool.border_distances(problem, x_ND)
    for x_D, distance in zip(x_ND, distances, strict=True):
        logits = CLASSIFIER.both.logits(x_D)
        first = int(logits.argmax())
        steps = [CLASSIFIER.both.weight_DY[:, k] - CLASSIFIER.both.weight_DY[:, first] for k in range(4) if k != first]
        crossed = [
            CLASSIFIER.both.logits(x_D + (distance + change) * step / np.linalg.norm(step)).argmax() != first
            for step in steps
            for change in (-1e-6, 1e-6)
        ]
        assert not any(crossed[::2])  # nothing closer
        assert any(crossed[1::2])  # and there it is
    assert deep_fool.rank_rows(problem, deep_fool.DeepFoolSpec()).tolist() == best(problem, -distances)
