import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from mmcsal.metrics.classification import calibration_error, class_recall, macro_f1


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    label_N = torch.randint(0, 5, (200,), generator=generator)
    guess_N = torch.where(
        torch.rand(200, generator=generator) < 0.6, label_N, torch.randint(0, 5, (200,), generator=generator)
    )
    return guess_N, label_N


def test_macro_f1_and_recall_are_those_of_scikit_learn(answers):
    guess_N, label_N = answers
    assert macro_f1(guess_N, label_N, 5).item() == pytest.approx(f1_score(label_N, guess_N, average="macro"))
    np.testing.assert_allclose(class_recall(guess_N, label_N, 5), recall_score(label_N, guess_N, average=None))


def test_a_class_that_does_not_occur_counts_for_nothing(answers):
    guess_N, label_N = answers
    assert macro_f1(guess_N, label_N, 9).item() == pytest.approx(macro_f1(guess_N, label_N, 5).item())
    assert class_recall(guess_N, label_N, 9).isnan().tolist() == [False] * 5 + [True] * 4


def test_calibration_error_by_hand():
    probability_NC = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    label_N = torch.tensor([0, 1, 1, 0])
    # Bins of 1/15: the two at .9 are right half of the time, the one at .7 and the one at .6 are right.
    expected = (2 * abs(0.9 - 0.5) + 0.3 + 0.4) / 4
    assert calibration_error(probability_NC, label_N).item() == pytest.approx(expected, abs=1e-6)


def test_sure_and_right_is_calibrated():
    assert calibration_error(torch.eye(3), torch.arange(3)).item() == 0
