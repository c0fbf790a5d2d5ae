from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from mmcsal.contracts.errors import InputError
from mmcsal.evaluation.statistics import average_ranks, averaged, difference, interval, results_of


def trials(value_TBS, budgets=(0.1, 0.2)):
    rows = [
        {
            "strategy": "xyz"[t],
            "budget": budgets[b],
            "seed": 5 + s,
            "accuracy": float(v),
            "num_test": 30,
            "num_pool": 60,
        }
        for (t, b, s), v in np.ndenumerate(value_TBS)
    ]
    return pa.Table.from_pylist(rows)


@pytest.fixture
def value_TBS():
    return np.random.default_rng(0).normal(size=(3, 2, 8))


def test_the_array_does_not_depend_on_the_order_of_rows(value_TBS):
    table = trials(value_TBS)
    results = results_of(table.take(np.r_[0, 1 + np.random.default_rng(1).permutation(47)]))
    for name, value_BS in zip("xyz", value_TBS, strict=True):
        np.testing.assert_array_equal(results.of(name), value_BS)


def test_missing_trials_are_told(value_TBS):
    with pytest.raises(InputError, match="1 of 48 trials are missing"):
        results_of(trials(value_TBS).slice(1))


def test_without_overlap_the_difference_is_the_paired_t_test(value_TBS):
    table = trials(value_TBS).set_column(4, "num_test", pa.array([0] * 48))
    found = difference(results_of(table), "x", "y", 0.2)
    theirs = stats.ttest_rel(value_TBS[0, 1], value_TBS[1, 1])
    assert found.mean == pytest.approx((value_TBS[0, 1] - value_TBS[1, 1]).mean())
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_overlapping_splits_widen_the_error(value_TBS):
    found = difference(results_of(trials(value_TBS)), "x", "y")
    by_seed = (value_TBS[0] - value_TBS[1]).mean(axis=0)
    assert found.standard_error == pytest.approx(np.sqrt(by_seed.var(ddof=1) * (1 / 8 + 0.5)))


def test_equal_strategies_do_not_differ(value_TBS):
    value_TBS[1] = value_TBS[0]
    assert difference(results_of(trials(value_TBS)), "x", "y").p_value == 1


def test_a_mean_over_sets_is_paired_by_seed(value_TBS):
    other_TBS = np.random.default_rng(1).normal(size=value_TBS.shape)
    parts = [results_of(trials(value)) for value in (value_TBS, other_TBS)]
    found = difference(averaged([parts[0], replace(parts[1], test_ratio=1.0)]), "x", "y")
    by_seed = ((value_TBS[0] - value_TBS[1]) + (other_TBS[0] - other_TBS[1])).mean(axis=0) / 2
    assert found.mean == pytest.approx(by_seed.mean())
    assert found.standard_error == pytest.approx(np.sqrt(by_seed.var(ddof=1) * (1 / 8 + 0.75)))


def test_no_mean_over_sets_of_other_trials(value_TBS):
    parts = [results_of(trials(value_TBS, budgets)) for budgets in ((0.1, 0.2), (0.1, 0.3))]
    with pytest.raises(InputError, match="have 2 lists of"):
        averaged(parts)


def test_ranks_by_hand():
    value_TBS = np.array([[[3.0]], [[1.0]], [[3.0]]])
    results = results_of(trials(value_TBS, budgets=(0.1,)))
    assert average_ranks(results, ["x", "y", "z"]) == {"x": 1.5, "y": 3.0, "z": 1.5}
    assert average_ranks(results, ["y", "x"]) == {"y": 2.0, "x": 1.0}


def test_the_interval_is_that_of_scipy():
    value_S = np.random.default_rng(0).normal(size=12)
    low, high = stats.t.interval(0.95, 11, loc=value_S.mean(), scale=stats.sem(value_S))
    assert interval(value_S) == pytest.approx((high - low) / 2)
    assert interval(value_S[:1]) == 0
