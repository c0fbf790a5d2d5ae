from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.kernel import ONE, make_kernel, square_kernel_block
from mmcsal.selection.numerics.quantize import UNIT, quantize
from mmcsal.selection.solvers.dense_greedy import lazy_greedy


def block(num_rows, seed, *, bandwidth=0.2):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 6))
    x_ND = centres[rng.integers(0, 4, num_rows)] + 0.6 * rng.normal(size=(num_rows, 6))
    return square_kernel_block(quantize(x_ND), make_kernel(int(bandwidth * UNIT**2)))


def value(kernel_NN, picks, base_N, bonus_N, unit):
    """f of an ordered list of picks, in Python integers."""
    covered = [max([int(b)] + [int(kernel_NN[j, i]) for j in picks]) for i, b in enumerate(base_N)]
    loss = sum(max([int(kernel_NN[j, k]) for k in picks[:p]], default=0) * unit // ONE for p, j in enumerate(picks))
    return sum(covered) - sum(map(int, base_N)) + sum(int(bonus_N[j]) for j in picks) - loss


def plain_greedy(kernel_NN, base_N, bonus_N, num_picks, unit=0):
    """Every gain of every step from the definition; the first of equals."""
    picks, gains = [], []
    for _ in range(num_picks):
        before = value(kernel_NN, picks, base_N, bonus_N, unit)
        rest = [j for j in range(len(kernel_NN)) if j not in picks]
        gain = {j: value(kernel_NN, [*picks, j], base_N, bonus_N, unit) - before for j in rest}
        picks.append(max(rest, key=lambda j: (gain[j], -j)))
        gains.append(gain[picks[-1]])
    return picks, gains


@pytest.mark.parametrize("unit", [0, ONE // 3, 8 * ONE])
@pytest.mark.parametrize("seed", range(5))
def test_lazy_is_plain_greedy(seed, unit):
    rng = np.random.default_rng(seed)
    kernel_NN, base_N = block(24, seed), rng.integers(0, 20000, 24).astype(np.uint16)
    bonus_N = rng.integers(0, 5, 24) * 10000  # ties
    expected, gains = plain_greedy(kernel_NN, base_N, bonus_N, 12, unit)
    found = lazy_greedy(kernel_NN, np.arange(24), base_N, bonus_N, 12, redundancy_unit=unit)
    assert found.candidate_P.tolist() == expected
    assert found.gain_P.tolist() == gains


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.floats(0.001, 1.0))
def test_f_is_monotone_and_submodular(seed, num_rows, bandwidth):
    rng = np.random.default_rng(seed)
    kernel_NN, base_N = block(num_rows, seed, bandwidth=bandwidth), rng.integers(0, ONE, num_rows)
    bonus_N = rng.integers(0, ONE, num_rows)
    order = rng.permutation(num_rows).tolist()
    new, large = order[0], order[1:]
    small = large[: len(large) // 2]
    gains = [
        value(kernel_NN, [*s, new], base_N, bonus_N, 0) - value(kernel_NN, s, base_N, bonus_N, 0)
        for s in (small, large)
    ]
    assert gains[0] >= gains[1] >= 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0, 1000, 10 * ONE]))
def test_picks_are_unique_and_gains_never_rise(seed, num_rows, unit):
    kernel_NN = block(num_rows, seed)
    picks = lazy_greedy(
        kernel_NN, np.arange(num_rows), np.zeros(num_rows), np.zeros(num_rows), num_rows, redundancy_unit=unit
    )
    assert sorted(picks.candidate_P) == list(range(num_rows))
    assert np.all(np.diff(picks.gain_P) <= 0)
    assert picks.mass_P.sum() == num_rows
    if unit == 0:
        assert picks.gain_P.sum() == num_rows * ONE  # all rows are covered by themselves


@pytest.mark.parametrize("seed", range(12))
def test_greedy_is_near_the_optimum(seed):
    rng = np.random.default_rng(seed)
    kernel_NN, base_N, bonus_N = block(11, seed), np.zeros(11), rng.integers(0, ONE, 11)
    picks = lazy_greedy(kernel_NN, np.arange(11), base_N, bonus_N, 3)
    best = max(value(kernel_NN, list(s), base_N, bonus_N, 0) for s in combinations(range(11), 3))
    assert picks.gain_P.sum() >= 0.95 * best


def test_candidates_may_be_some_of_the_rows():
    kernel_NN, some = block(30, 3), np.array([2, 5, 11, 17, 23])
    found = lazy_greedy(kernel_NN[some], some, np.zeros(30), np.zeros(5), 3, redundancy_unit=ONE)
    bonus_N = np.full(30, -(10**9))
    bonus_N[some] = 0
    expected, _ = plain_greedy(kernel_NN, np.zeros(30), bonus_N, 3, ONE)
    assert some[found.candidate_P].tolist() == expected


def test_labeled_samples_count_as_redundant():
    kernel_NN, unit = np.diag(np.full(3, ONE)).astype(np.uint16), 10 * ONE
    close_N = np.array([ONE, 0, 0], np.uint16)
    found = lazy_greedy(
        kernel_NN, np.arange(3), np.zeros(3), np.zeros(3), 3, redundancy_unit=unit, redundancy_C=close_N
    )
    assert found.candidate_P.tolist() == [1, 2, 0]
    assert found.gain_P.tolist() == [ONE, ONE, ONE - unit]
