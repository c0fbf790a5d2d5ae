"""Embeddings as small integers, so that every similarity is exact and the same on every machine.

A unit vector times `UNIT` and rounded has a norm below 4096 for every width up to 36,000. By Cauchy-Schwarz each
partial sum of a product of two such vectors stays below 2^24, so a float32 GEMM adds integers without rounding, in
whatever order, with whatever number of threads.

The joint embedding z = [a; v] / sqrt(2) is quantised as one vector: each modality with UNIT / sqrt(2). The joint
similarity is then one product, and equals the mean of the two modalities' cosines in units of UNIT^2.
"""

import math

import numpy as np
from numba import njit

UNIT = 4000
JOINT_UNIT = UNIT / math.sqrt(2)  # of each modality in the joint embedding
OK, ZERO, NOT_FINITE = 0, 1, 2


def quantize(x_ND: np.ndarray, *, unit: float = UNIT) -> np.ndarray:
    """rint(unit * x / |x|) of each row, int16 [N, D]; `x_ND` is float32 or float64, without bad rows."""
    out_ND = np.empty(x_ND.shape, np.int16)
    _quantize(np.ascontiguousarray(x_ND), float(unit), out_ND)
    return out_ND


def quantize_joint(a_ND: np.ndarray, v_ND: np.ndarray) -> np.ndarray:
    """The joint embedding [a; v] / sqrt(2) as int16 [N, Da + Dv]."""
    out_ND = np.empty((len(a_ND), a_ND.shape[1] + v_ND.shape[1]), np.int16)
    for x_ND, part_ND in ((a_ND, out_ND[:, : a_ND.shape[1]]), (v_ND, out_ND[:, a_ND.shape[1] :])):
        _quantize(np.ascontiguousarray(x_ND), JOINT_UNIT, part_ND)
    return out_ND


def row_faults(x_ND: np.ndarray) -> np.ndarray:
    """What is wrong with each row: OK, ZERO (no direction) or NOT_FINITE, uint8 [N]."""
    faults_N = np.zeros(len(x_ND), np.uint8)
    _row_faults(np.ascontiguousarray(x_ND), faults_N)
    return faults_N


def similarities(x_AD: np.ndarray, y_BD: np.ndarray) -> np.ndarray:
    """Products of quantised rows, float32 [A, B] that holds exact integers."""
    return x_AD.astype(np.float32, copy=False) @ y_BD.astype(np.float32, copy=False).T


def square_norms(x_ND: np.ndarray) -> np.ndarray:
    """Squared norms of quantised rows, int32 [N]."""
    norms_N = np.empty(len(x_ND), np.int32)
    _square_norms(x_ND, norms_N)
    return norms_N


@njit(cache=True, nogil=True)
def _square_norms(x_ND, norms_N):
    for n in range(x_ND.shape[0]):
        total = np.int32(0)
        for d in range(x_ND.shape[1]):
            total += np.int32(x_ND[n, d]) * np.int32(x_ND[n, d])
        norms_N[n] = total


# One loop in column order: no SIMD reduction reorders the sum, so the norm is the same on every CPU.
@njit(cache=True, nogil=True)
def _square_norm(row_D):
    total = 0.0
    for d in range(row_D.shape[0]):
        value = np.float64(row_D[d])
        total += value * value
    return total


@njit(cache=True, nogil=True)
def _quantize(x_ND, unit, out_ND):
    for n in range(x_ND.shape[0]):
        scale = unit / np.sqrt(_square_norm(x_ND[n]))
        for d in range(x_ND.shape[1]):
            out_ND[n, d] = np.int16(np.rint(np.float64(x_ND[n, d]) * scale))


@njit(cache=True, nogil=True)
def _row_faults(x_ND, faults_N):
    for n in range(x_ND.shape[0]):
        total = _square_norm(x_ND[n])
        if not np.isfinite(total):
            faults_N[n] = NOT_FINITE
        elif total == 0.0:
            faults_N[n] = ZERO
