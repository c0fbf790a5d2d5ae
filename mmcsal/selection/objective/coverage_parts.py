"""What coverage is made of: kernels of the joint embedding and of each modality alone, each with its own bandwidth.

    Cov = rho Cov_joint + (1 - rho) (u_1 Cov_1 + u_2 Cov_2),   u_1 + u_2 = 1

A joint kernel asks that two samples are alike in both modalities, which is right where these share much. Where one says
little of the other, a sample stands for some by its picture and for others by its sound.

Solvers know one kind of coverage: to them, every row is as many targets as there are parts, and a target counts as
much as its part. So a mixed coverage is monotone and submodular as each part is, and joint coverage is the case of one
part that counts 1. Weights are integers of a sum of 240, in which every twentieth of rho is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmcsal.selection.numerics.kernel import FAR, Kernel, kernel_of, nearest, square_kernel_block

JOINT = "joint"
UNIT_OF_PARTS = 240
Columns = tuple[int, int] | None  # the first, and that behind the last; None = all


@dataclass(frozen=True)
class Part:
    """One kernel, and what the coverage by it counts."""

    name: str  # JOINT, or what the modality is called
    columns: Columns  # of the joint embedding that it compares
    kernel: Kernel
    weight: int

    def of(self, joint_ND: np.ndarray) -> np.ndarray:
        """The columns of quantised joint embeddings that this part compares; no copy of all of them."""
        return columns_of(joint_ND, self.columns)


@dataclass(frozen=True)
class CoverageParts:
    """The parts, the joint one first. Where that one counts nothing, it still tells which samples are duplicates."""

    parts: tuple[Part, ...]

    @property
    def joint(self) -> Kernel:
        """The kernel of the joint embedding."""
        return self.parts[0].kernel

    @cached_property
    def weight_U(self) -> np.ndarray:
        """What each part counts, int64."""
        return np.array([part.weight for part in self.parts], np.int64)

    @property
    def unit(self) -> int:
        """What all of them count."""
        return int(self.weight_U.sum())

    @property
    def counted(self) -> np.ndarray:
        """Places of the parts that count, int64."""
        return np.flatnonzero(self.weight_U)

    def mean(self, value_PU: np.ndarray) -> np.ndarray:
        """Of a figure of each part (on the last axis) the mean by what they count, float64."""
        return (value_PU * self.weight_U).sum(axis=-1) / self.unit

    def by_name(self, value_U: Sequence[float]) -> dict[str, float]:
        """A figure of each part that counts."""
        return {self.parts[u].name: value_U[u] for u in self.counted}

    def needed(self, *, with_joint: bool) -> np.ndarray:
        """Places of the parts that a dense kernel has to hold: those that count, and the joint one if asked for."""
        return np.union1d(self.counted, [0]) if with_joint else self.counted


def columns_of(joint_ND: np.ndarray, columns: Columns) -> np.ndarray:
    """These columns of quantised joint embeddings; no copy of all of them."""
    return joint_ND if columns is None else np.ascontiguousarray(joint_ND[:, slice(*columns)])


def joint_coverage(kernel: Kernel) -> CoverageParts:
    """Coverage by the joint embedding alone."""
    return CoverageParts((Part(JOINT, None, kernel, 1),))


def part_weights(rho: float, modality_weights: Sequence[float]) -> tuple[int, ...]:
    """What the joint part and those of the modalities count: one part that counts 1 where rho is 1.

    Args:
        rho: share of the joint coverage.
        modality_weights: of the rest, in any unit.
    """
    if rho == 1:
        return (1,)
    joint = round(UNIT_OF_PARTS * rho)
    first = round((UNIT_OF_PARTS - joint) * modality_weights[0] / sum(modality_weights))
    return joint, first, UNIT_OF_PARTS - joint - first


def square_blocks(joint_ND: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """K of every pair of rows by each part, uint16 [N, U * N]: the columns of one part after those of the other."""
    num_rows = len(joint_ND)
    out = np.empty((num_rows, len(parts) * num_rows), np.uint16)
    for u, part in enumerate(parts):
        square_kernel_block(part.of(joint_ND), part.kernel, out[:, u * num_rows : (u + 1) * num_rows])
    return out


def stacked(value_NU: np.ndarray) -> np.ndarray:
    """What rows have by part, in the order of the columns of `square_blocks`."""
    return np.ascontiguousarray(value_NU.T).reshape(-1)


def largest_kernels(joint_ND: np.ndarray, to_PD: np.ndarray, coverage: CoverageParts) -> np.ndarray:
    """The largest kernel of each row to any of `to_PD` by each part, uint16 [N, U]; 0 where there is none."""
    found_NU = np.zeros((len(joint_ND), len(coverage.parts)), np.uint16)
    for u, part in enumerate(coverage.parts):
        _, distance_N = nearest(part.of(joint_ND), part.of(to_PD))
        found_NU[:, u] = np.where(distance_N == FAR, 0, kernel_of(distance_N, part.kernel))
    return found_NU
