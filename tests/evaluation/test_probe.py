import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmcsal.contracts.ids import hash_ids
from mmcsal.evaluation import probe
from mmcsal.evaluation.probe import cross_validated, fit_classifier
from mmcsal.evaluation.samples import labeled


def samples(num_rows=120, seed=0):
    rng = np.random.default_rng(seed)
    label_N = rng.integers(0, 4, num_rows)
    a_ND = np.eye(4)[label_N] @ rng.normal(size=(4, 6)) + rng.normal(size=(num_rows, 6))
    v_ND = np.eye(4)[label_N] @ rng.normal(size=(4, 5)) + rng.normal(size=(num_rows, 5))
    return a_ND, v_ND, [f"class {n}" for n in label_N]


def unit(x_ND):
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_heads_are_those_of_scikit_learn(c):
    a_ND, v_ND, labels = samples()
    found = fit_classifier(a_ND, v_ND, labels, c=c)
    views = unit(a_ND), unit(v_ND)
    for head, x_ND in zip((found.both, *found.alone), (np.hstack(views), *views), strict=True):
        theirs = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(x_ND, labels)
        np.testing.assert_allclose(head.probabilities(x_ND), theirs.predict_proba(x_ND), atol=1e-4)
        assert list(found.classes) == list(theirs.classes_)


def test_one_class_is_all_it_knows():
    a_ND, v_ND, _ = samples(5)
    found = fit_classifier(a_ND, v_ND, ["x"] * 5)
    assert found.classes == ("x",)
    assert found.both.probabilities(np.hstack([unit(a_ND), unit(v_ND)])).tolist() == [[1.0]] * 5


def test_the_fit_does_not_depend_on_the_order_of_rows():
    a_ND, v_ND, labels = samples()
    order = np.random.default_rng(1).permutation(len(labels))
    one = fit_classifier(a_ND, v_ND, labels)
    other = fit_classifier(a_ND[order], v_ND[order], [labels[n] for n in order])
    np.testing.assert_allclose(one.both.weight_DY, other.both.weight_DY, atol=1e-4)


def test_cross_validation_tells_what_new_samples_would_get(monkeypatch):
    a_ND, v_ND, labels = samples(2000)
    ids = [f"{n:04d}" for n in range(2000)]
    seen = labeled(ids[:300], a_ND[:300], v_ND[:300], labels[:300])
    found = fit_classifier(a_ND[:300], v_ND[:300], labels[:300])
    x_ND = np.hstack([unit(a_ND[300:]), unit(v_ND[300:])])
    guesses = np.array(found.classes)[found.both.logits(x_ND).argmax(axis=1)]
    right = np.mean(guesses == np.array(labels[300:]))
    assert cross_validated(seen) == pytest.approx(right, abs=0.06)
    assert cross_validated(seen.take(np.arange(9))) is None
    monkeypatch.setattr(probe, "MAX_VALIDATED", 100)
    assert cross_validated(seen) == cross_validated(seen.take(_lowest(seen, 100)))


def _lowest(seen, num_samples):
    return np.sort(np.argsort(hash_ids(seen.ids.tolist(), salt="folds"))[:num_samples])
