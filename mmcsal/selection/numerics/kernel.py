"""The kernel K = exp(-distance / bandwidth) as integers from a table.

The distance of two quantised rows is half the square of their difference, |q_i - q_j|^2 / 2: an exact integer,
symmetric, 0 for equal rows, and 1 - cos in units of UNIT^2. K is in units of 1/65535.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.numerics.quantize import similarities, square_norms

ONE = 65535  # the kernel of equal rows
TABLE_SIZE = 4096
FAR = np.iinfo(np.int32).max  # square distance to the nearest row of an empty set
CHUNK_ROWS = 512  # rows whose float32 similarities are in memory at a time
SQUARE_ROWS = 128  # the same where the smaller the block, the less is computed twice


@dataclass(frozen=True)
class Kernel:
    """Values of exp(-d / bandwidth) by `d >> shift`; computed once and handed to every task."""

    bandwidth: int  # in units of UNIT^2
    shift: int
    table_T: np.ndarray  # uint16 [4096], falling from 65535 to 0


def make_kernel(bandwidth: int) -> Kernel:
    """The kernel of a bandwidth >= 1 in units of UNIT^2; off the exact exponential by at most .0037."""
    shift = 0
    while (12 * bandwidth) >> shift >= TABLE_SIZE:
        shift += 1
    values = [round(ONE * math.exp(-(i << shift) / bandwidth)) for i in range(TABLE_SIZE - 1)]
    return Kernel(bandwidth, shift, np.array([*values, 0], np.uint16))


def kernel_block(x_AD: np.ndarray, y_BD: np.ndarray, kernel: Kernel) -> np.ndarray:
    """K of every pair of quantised rows, uint16 [A, B]."""
    out_AB = np.empty((len(x_AD), len(y_BD)), np.uint16)
    x_norms_A, y_norms_B, table_T = square_norms(x_AD), square_norms(y_BD), np.array(kernel.table_T)
    y32_BD = y_BD.astype(np.float32)
    for start in range(0, len(x_AD), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        sims_AB = similarities(x_AD[rows], y32_BD)
        _look_up(sims_AB, x_norms_A[rows], y_norms_B, kernel.shift, table_T, out_AB[rows])
    return out_AB


def square_kernel_block(x_ND: np.ndarray, kernel: Kernel, out_NN: np.ndarray | None = None) -> np.ndarray:
    """K of every pair of `x_ND`, uint16 [N, N], in `out_NN` if given: half the work of `kernel_block(x, x)`."""
    num_rows = len(x_ND)
    out_NN = np.empty((num_rows, num_rows), np.uint16) if out_NN is None else out_NN
    norms_N, table_T, x32_ND = square_norms(x_ND), np.array(kernel.table_T), x_ND.astype(np.float32)
    for start in range(0, num_rows, SQUARE_ROWS):
        stop = min(start + SQUARE_ROWS, num_rows)
        sims_AB = similarities(x32_ND[start:stop], x32_ND[start:])
        _look_up(sims_AB, norms_N[start:stop], norms_N[start:], kernel.shift, table_T, out_NN[start:stop, start:])
        out_NN[stop:, start:stop] = out_NN[start:stop, stop:].T
    return out_NN


def kernel_of(square_distance_N: np.ndarray, kernel: Kernel) -> np.ndarray:
    """K of square distances |q_i - q_j|^2, uint16 [N]."""
    return kernel.table_T[np.minimum(square_distance_N >> (kernel.shift + 1), TABLE_SIZE - 1)]


def square_distances(x_AD: np.ndarray, y_BD: np.ndarray) -> np.ndarray:
    """|q_i - q_j|^2 of every pair of quantised rows, int32 [A, B]."""
    sims_AB = similarities(x_AD, y_BD).astype(np.int32)
    return square_norms(x_AD)[:, None] + square_norms(y_BD)[None, :] - 2 * sims_AB


def nearest(x_AD: np.ndarray, y_BD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of `y` to each row of `x`: index int64 [A] (the first of equals) and |q_i - q_j|^2 int32 [A].

    Where `y` is empty: -1 and FAR.
    """
    index_A = np.full(len(x_AD), -1, np.int64)
    distance_A = np.full(len(x_AD), FAR, np.int32)
    x_norms_A, y_norms_B, y32_BD = square_norms(x_AD), square_norms(y_BD), y_BD.astype(np.float32)
    for start in range(0, len(x_AD) if len(y_BD) else 0, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        _nearest(similarities(x_AD[rows], y32_BD), x_norms_A[rows], y_norms_B, index_A[rows], distance_A[rows])
    return index_A, distance_A


@njit(cache=True, nogil=True)
def _look_up(sims_AB, x_norms_A, y_norms_B, shift, table_T, out_AB):
    for i in range(sims_AB.shape[0]):
        for j in range(sims_AB.shape[1]):
            distance = (x_norms_A[i] + y_norms_B[j] - 2 * np.int32(sims_AB[i, j])) >> (shift + 1)
            out_AB[i, j] = table_T[min(distance, TABLE_SIZE - 1)]


@njit(cache=True, nogil=True)
def _nearest(sims_AB, x_norms_A, y_norms_B, index_A, distance_A):
    for i in range(sims_AB.shape[0]):
        best, best_j = np.int32(FAR), -1
        for j in range(sims_AB.shape[1]):
            distance = np.int32(x_norms_A[i] + y_norms_B[j] - 2 * np.int32(sims_AB[i, j]))
            if distance < best:
                best, best_j = distance, j
        index_A[i], distance_A[i] = best_j, best
