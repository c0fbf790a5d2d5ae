"""How often a row counts: weights of the caller, and tempering where the pool is dense; integers, the same anywhere."""

import math
from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import Kernel, kernel_block
from mmcsal.selection.objective.constraints import Attributes

WEIGHT_UNIT = 256  # the weight of an average row
MAX_WEIGHT = 65535
DENSITY_STEPS = 16  # a doubling of the density: steps of the table
NUM_REFERENCES = 1024


@dataclass(frozen=True)
class Tempering:
    """Weights by density: rows of dense places count density^-power."""

    reference_MD: np.ndarray  # quantised rows of lowest hash: the density of a row is its mean kernel to them
    kernel: Kernel
    weight_T: np.ndarray  # int64, by step of the density; made once, since powers may differ between machines


def normalised(weight_N: np.ndarray) -> np.ndarray:
    """Weights of the caller in units of their mean, int64 [N]; at least 1 where a weight is above 0.

    The mean is summed exactly, so it does not depend on the order of the rows, and no scale of the weights matters.
    """
    mean = math.fsum(weight_N.tolist()) / len(weight_N)
    scaled_N = np.clip(np.rint(WEIGHT_UNIT * (weight_N / mean)), 0, MAX_WEIGHT).astype(np.int64)
    return np.where(weight_N > 0, np.maximum(scaled_N, 1), 0)


def fit_tempering(reference_MD: np.ndarray, kernel: Kernel, power: float) -> Tempering:
    """The table that gives the reference rows a mean weight of one unit."""
    reference_MD = reference_MD[:NUM_REFERENCES]
    step_M = _steps(reference_MD, reference_MD, kernel)
    raw_T = np.array([2.0 ** (-power * t / DENSITY_STEPS) for t in range(_num_steps(len(reference_MD)))])
    scale = WEIGHT_UNIT / (math.fsum(raw_T[step_M].tolist()) / len(step_M))
    weight_T = np.clip(np.rint(raw_T * scale), 1, MAX_WEIGHT).astype(np.int64)
    return Tempering(reference_MD, kernel, weight_T)


def tempered(joint_ND: np.ndarray, tempering: Tempering) -> np.ndarray:
    """Weights of quantised rows, int64 [N]."""
    return tempering.weight_T[_steps(joint_ND, tempering.reference_MD, tempering.kernel)]


def row_weights(
    hash_N: np.ndarray, joint_ND: np.ndarray, attributes: Attributes, tempering: Tempering | None
) -> np.ndarray:
    """Weights of the caller times those of the tempering, int64 [N]; a weight above 0 stays above 0."""
    weight_N = attributes.weights(hash_N)
    if tempering is None:
        return weight_N
    tempered_N = tempered(joint_ND, tempering)
    if attributes.weight_N is None:
        return tempered_N
    return np.maximum(weight_N * tempered_N // WEIGHT_UNIT, np.minimum(weight_N, 1))


def _steps(joint_ND: np.ndarray, reference_MD: np.ndarray, kernel: Kernel) -> np.ndarray:
    """log2 of the summed kernel in sixteenths, int64 [N], by comparison with integer bounds."""
    sums_N = kernel_block(joint_ND, reference_MD, kernel).sum(axis=1, dtype=np.int64) + 1
    bounds = [math.ceil(2.0 ** (t / DENSITY_STEPS)) for t in range(_num_steps(len(reference_MD)))]
    return np.searchsorted(np.array(bounds, np.int64), sums_N, side="right") - 1


def _num_steps(num_references: int) -> int:
    return DENSITY_STEPS * (17 + num_references.bit_length())
