import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.kernel import (
    FAR,
    ONE,
    kernel_block,
    kernel_of,
    make_kernel,
    nearest,
    square_kernel_block,
)
from mmcsal.selection.numerics.quantize import UNIT, quantize


def rows(num_rows, width=16, seed=0):
    return quantize(np.random.default_rng(seed).normal(size=(num_rows, width)))


def exact_square_distances(x_AD, y_BD):
    return ((x_AD.astype(np.int64)[:, None] - y_BD.astype(np.int64)[None]) ** 2).sum(axis=2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4 * UNIT**2), st.integers(0, 2**25))
def test_the_table_is_close_to_the_exponential(bandwidth, distance):
    kernel = make_kernel(bandwidth)
    value = int(kernel_of(np.array([2 * distance], np.int32), kernel)[0]) / ONE
    assert abs(value - np.exp(-distance / bandwidth)) <= 0.0062 + 1 / ONE
    assert (12 * bandwidth) >> kernel.shift < 4096
    assert np.all(np.diff(kernel.table_T.astype(int)) <= 0)
    assert (kernel.table_T[0], kernel.table_T[-1]) == (ONE, 0)


def test_blocks_look_up_exact_distances():
    x_AD, y_BD, kernel = rows(700), rows(30, seed=1), make_kernel(UNIT**2 // 5)
    expected = kernel.table_T[np.minimum((exact_square_distances(x_AD, y_BD) // 2) >> kernel.shift, 4095)]
    assert np.array_equal(kernel_block(x_AD, y_BD, kernel), expected)


@pytest.mark.parametrize("num_rows", [1, 511, 512, 1100])
def test_the_square_block_is_the_block_and_symmetric(num_rows):
    x_ND, kernel = rows(num_rows), make_kernel(UNIT**2 // 9)
    square_NN = square_kernel_block(x_ND, kernel)
    assert np.array_equal(square_NN, kernel_block(x_ND, x_ND, kernel))
    assert np.array_equal(square_NN, square_NN.T)
    assert np.all(np.diag(square_NN) == ONE)


def test_equal_rows_have_kernel_one_at_the_smallest_bandwidth():
    x_ND = np.repeat(rows(3), 4, axis=0)
    block = square_kernel_block(x_ND, make_kernel(1))
    assert np.array_equal(block == ONE, np.kron(np.eye(3), np.ones((4, 4))) == 1)


def test_nearest_is_exact_and_takes_the_first_of_equals():
    x_AD, y_BD = rows(600), np.concatenate([rows(9, seed=1), rows(9, seed=1)])
    index_A, distance_A = nearest(x_AD, y_BD)
    expected = exact_square_distances(x_AD, y_BD)
    assert np.array_equal(index_A, expected.argmin(axis=1))
    assert np.array_equal(distance_A, expected.min(axis=1))
    assert index_A.max() < 9


def test_nearest_of_nothing():
    index_A, distance_A = nearest(rows(2), rows(0))
    assert index_A.tolist() == [-1, -1]
    assert distance_A.tolist() == [FAR, FAR]
