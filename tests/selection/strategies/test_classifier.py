import numpy as np
from scipy import special, stats

from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.selection.strategies.classifier import entropy, features, softmax
from tests.selection.problems import unit_rows


def test_features_are_both_modalities_at_unit_norm():
    a_ND, v_ND = unit_rows(20, width=3), unit_rows(20, width=5, seed=1)
    x_ND = features(quantize_joint(2 * a_ND, 5 * v_ND))
    np.testing.assert_allclose(x_ND, np.hstack([a_ND, v_ND]), atol=2e-4)


def test_softmax_and_entropy_against_scipy():
    logits_NC = 300 * np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_allclose(softmax(logits_NC), special.softmax(logits_NC, axis=1))
    np.testing.assert_allclose(entropy(softmax(logits_NC)), stats.entropy(softmax(logits_NC), axis=1), atol=1e-12)
