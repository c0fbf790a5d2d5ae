import numpy as np
import pytest
from scipy import special, stats

from mmcsal import select_pairs
from mmcsal.contracts.errors import InputError
from mmcsal.selection import SelectSpec
from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.selection.strategies.classifier import entropy, features, softmax
from tests.selection.problems import classifier_of, unit_rows

WARM = ["badge", "bald", "bmmal", "deep_fool", "entropy", "margin"]


def test_features_are_both_modalities_at_unit_norm():
    a_ND, v_ND = unit_rows(20, width=3), unit_rows(20, width=5, seed=1)
    x_ND = features(quantize_joint(2 * a_ND, 5 * v_ND))
    np.testing.assert_allclose(x_ND, np.hstack([a_ND, v_ND]), atol=2e-4)


def test_softmax_and_entropy_against_scipy():
    logits_NC = 300 * np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_allclose(softmax(logits_NC), special.softmax(logits_NC, axis=1))
    np.testing.assert_allclose(entropy(softmax(logits_NC)), stats.entropy(softmax(logits_NC), axis=1), atol=1e-12)


@pytest.mark.parametrize("kind", WARM)
def test_warm_start_needs_a_classifier_of_these_embeddings(kind):
    a_ND, v_ND, spec = unit_rows(30, width=3), unit_rows(30, width=5), SelectSpec(strategy={"kind": kind})
    with pytest.raises(InputError, match=f"{kind} chooses by a classifier"):
        select_pairs(a_ND, v_ND, 4, config=spec)
    with pytest.raises(InputError, match=r"widths \(3, 3\), these have \(3, 5\)"):
        select_pairs(a_ND, v_ND, 4, config=spec, classifier=classifier_of())


@pytest.mark.parametrize("kind", WARM)
def test_a_warm_start_never_picks_what_is_labeled_and_does_not_depend_on_the_order_of_rows(kind):
    a_ND, v_ND, spec = unit_rows(40, width=3), unit_rows(40, width=3, seed=1), SelectSpec(strategy={"kind": kind})
    ids = np.array([f"{n:02d}" for n in range(40)])
    order = np.random.default_rng(0).permutation(40)
    given = {"config": spec, "classifier": classifier_of(), "labeled": ids[:25]}
    picks = select_pairs(a_ND, v_ND, 6, sample_ids=ids, **given).sample_ids
    assert len(set(picks)) == 6
    assert set(picks) <= set(ids[25:])
    assert select_pairs(a_ND[order], v_ND[order], 6, sample_ids=ids[order], **given).sample_ids == picks
