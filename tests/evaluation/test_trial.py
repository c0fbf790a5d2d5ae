import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.table import conform
from mmcsal.contracts.trial import TRIAL
from mmcsal.evaluation.samples import labeled, split
from mmcsal.evaluation.spec import COLD_START, UNIMODAL, WARM_START, Contender, EvaluateSpec
from mmcsal.evaluation.trial import run_trial

EVERYONE = {contender.name: contender for contender in (*COLD_START, *WARM_START, *UNIMODAL)}
SPEC = EvaluateSpec(budgets=(6, 12, 20))


def make(num_rows=150, seed=0, misaligned=0.1):
    rng = np.random.default_rng(seed)
    label_N = rng.choice(4, num_rows, p=[0.5, 0.3, 0.15, 0.05])
    latent = np.eye(4)[label_N] @ rng.normal(size=(4, 6)) + 0.6 * rng.normal(size=(num_rows, 6))
    a_ND, v_ND = (np.tanh(latent @ rng.normal(size=(6, d))).astype(np.float32) for d in (7, 5))
    is_misaligned_N = rng.random(num_rows) < misaligned
    rows = np.flatnonzero(is_misaligned_N)
    v_ND[rows] = v_ND[np.roll(rows, 1)]
    ids = [f"{n:04d}" for n in rng.permutation(num_rows)]
    return labeled(ids, a_ND, v_ND, [f"class {n}" for n in label_N], is_misaligned_N)


@pytest.fixture(scope="module")
def samples():
    return make()


def test_the_split_keeps_the_shares_of_classes_and_tests_no_misaligned_pair(samples):
    pool, test = split(samples, test_fraction=1 / 3, seed=0)
    assert set(pool.ids) | set(test.ids) == set(samples.ids)
    assert not set(pool.ids) & set(test.ids)
    assert not test.is_misaligned_N.any()
    clean = samples.label_N[~samples.is_misaligned_N]
    assert np.bincount(test.label_N).tolist() == [round(n / 3) for n in np.bincount(clean)]
    other = split(samples, test_fraction=1 / 3, seed=1)[1]
    assert set(other.ids) != set(test.ids)


def test_too_few_labels_are_told():
    with pytest.raises(InputError, match="at least 10 are needed"):
        split(make(12), test_fraction=1 / 3, seed=0)


@pytest.mark.parametrize("name", EVERYONE)
def test_every_contender_gives_a_row_a_budget_and_the_same_again(samples, name):
    rows = run_trial(samples, EVERYONE[name], SPEC, seed=3)
    table = conform(pa.Table.from_pylist(rows), TRIAL, name="trials")
    assert table["num_picks"].to_pylist() == [6, 12, 20]
    assert [sum(picks) for picks in table["class_picks"].to_pylist()] == [6, 12, 20]
    again = conform(pa.Table.from_pylist(run_trial(samples, EVERYONE[name], SPEC, seed=3)), TRIAL, name="trials")
    assert table.drop_columns("seconds").equals(again.drop_columns("seconds"))


def test_a_strategy_that_sees_one_modality_is_blind_to_the_other(samples):
    other = labeled(
        samples.ids.tolist(),
        samples.a_ND,
        np.random.default_rng(0).normal(size=samples.v_ND.shape).astype(np.float32),
        [samples.classes[n] for n in samples.label_N],
        samples.is_misaligned_N,
    )
    same = [run_trial(s, EVERYONE["kmeans_nearest_a"], SPEC, seed=0)[-1]["class_picks"] for s in (samples, other)]
    differ = [run_trial(s, EVERYONE["kmeans_nearest_v"], SPEC, seed=0)[-1]["class_picks"] for s in (samples, other)]
    assert same[0] == same[1]
    assert differ[0] != differ[1]


def test_a_strategy_that_sees_other_embeddings_picks_by_them_and_the_classifier_does_not_see_them(samples):
    other = make(seed=5)
    other = labeled(samples.ids.tolist(), other.a_ND, other.v_ND, samples.labels, samples.is_misaligned_N)
    mmcsal = EVERYONE["mmcsal"]
    plain, seeing = (run_trial(samples, mmcsal, SPEC, seed=0, seen=seen)[-1] for seen in (None, other))
    elsewhere = run_trial(other, mmcsal, SPEC, seed=0)[-1]
    assert seeing["class_picks"] == elsewhere["class_picks"] != plain["class_picks"]
    assert seeing["accuracy"] != elsewhere["accuracy"]
    at_random = [run_trial(samples, EVERYONE["random"], SPEC, seed=0, seen=seen)[-1] for seen in (None, other)]
    assert at_random[0]["accuracy"] == at_random[1]["accuracy"]


def test_a_classifier_that_knows_too_few_classes_is_wrong_on_the_others(samples):
    spec = EvaluateSpec(budgets=(1,))
    (row,) = run_trial(samples, EVERYONE["random"], spec, seed=0)
    recall = np.array(row["class_recall"])
    assert sorted(recall.tolist()) == [0, 0, 0, 1]
    shares = np.bincount(split(samples, test_fraction=spec.test_fraction, seed=0)[1].label_N) / row["num_test"]
    assert row["accuracy"] == pytest.approx(shares[recall.argmax()])


def test_what_is_wrong_in_the_spec_is_told():
    with pytest.raises(ValidationError, match="named twice"):
        EvaluateSpec(contenders=(Contender(name="random"),))
    with pytest.raises(ValidationError, match="must rise"):
        EvaluateSpec(budgets=(0.2, 0.1))
    with pytest.raises(ValidationError, match="lambda_alignment"):
        Contender(name="x", select={"lambda_alignment": 1})
