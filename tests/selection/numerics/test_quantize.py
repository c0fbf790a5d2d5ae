import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.quantize import (
    NOT_FINITE,
    OK,
    UNIT,
    ZERO,
    quantize,
    quantize_joint,
    row_faults,
    similarities,
)


@pytest.mark.parametrize("width", [1, 3, 128, 4096])
def test_products_are_exact_integers(width):
    rng = np.random.default_rng(width)
    x_ND = quantize(rng.normal(size=(40, width)).astype(np.float32))
    aligned = np.abs(x_ND[:1]) * np.ones((2, 1), np.int16)  # the largest product, reached with all terms positive
    x_ND = np.concatenate([x_ND, aligned])
    exact_NN = x_ND.astype(np.int64) @ x_ND.astype(np.int64).T
    sims_NN = similarities(x_ND, x_ND)
    assert np.array_equal(sims_NN.astype(np.int64), exact_NN)
    assert np.array_equal(sims_NN, sims_NN.T)
    assert exact_NN.max() < 2**24


def test_integers_are_close_to_the_unit_vector():
    x_ND = np.random.default_rng(0).normal(size=(100, 64))
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    assert np.array_equal(quantize(x_ND), np.rint(UNIT * unit_ND))
    assert np.abs(similarities(quantize(x_ND), quantize(x_ND)) / UNIT**2 - unit_ND @ unit_ND.T).max() < 2e-3


def test_joint_similarity_is_the_mean_of_the_modalities():
    rng = np.random.default_rng(1)
    a_ND, v_ND = rng.normal(size=(50, 24)), rng.normal(size=(50, 40))
    cosines = [x @ x.T for x in (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a_ND, v_ND))]
    joint_ND = quantize_joint(a_ND, v_ND)
    assert np.abs(similarities(joint_ND, joint_ND) / UNIT**2 - (cosines[0] + cosines[1]) / 2).max() < 2e-3


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-30, 1e30), st.integers(0, 2**32 - 1))
def test_the_length_of_a_vector_does_not_matter(length, seed):
    x_1D = np.random.default_rng(seed).normal(size=(1, 8))
    moved = np.abs(quantize(x_1D * length).astype(int) - quantize(x_1D))
    assert moved.max() <= 1  # a product may round differently at a half


def test_bad_rows_are_told_apart():
    x_ND = np.ones((5, 3), np.float32)
    x_ND[1], x_ND[2, 0], x_ND[3, 2] = 0, np.nan, np.inf
    assert row_faults(x_ND).tolist() == [OK, ZERO, NOT_FINITE, NOT_FINITE, OK]
