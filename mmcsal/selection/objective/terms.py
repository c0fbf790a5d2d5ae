"""The objective, term by term: as a user reads it, and as the integers that solvers compare.

f(S) = Cov(S) + lambda_align * Align(S) - lambda_div * Red(S), each term in [0, 1]
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmcsal.selection.numerics.kernel import FAR, ONE, Kernel, kernel_block, kernel_of, square_distances
from mmcsal.selection.objective.alignment import Anchors, align_scores, alignment_of
from mmcsal.selection.objective.coverage_parts import CoverageParts
from mmcsal.selection.objective.pair_scores import KnownScores

AlignForm = Literal["hinge", "discount", "gate", "linear"]
CHUNK_PICKS = 256


@dataclass(frozen=True)
class Terms:
    """The three terms, each in [0, 1], and what they add up to."""

    coverage: float
    alignment: float
    redundancy: float
    objective: float


@dataclass(frozen=True)
class Objective:
    """The weights of the terms, and the gains of picks in integers.

    A gain over `num_rows` rows counts the coverage of so many whole rows as `gain_unit(num_rows)`.
    """

    coverage: CoverageParts
    scores: Anchors | KnownScores  # by which alignment is told
    align_form: AlignForm
    align_threshold: float  # the r from which a pair counts as aligned
    applied_lambda_align: float  # what is left of `lambda_align` after scaling by confidence
    lambda_div: float
    duplicate_kernel: int  # from this kernel to an earlier pick, a sample is its duplicate
    weight_unit: int  # weight of an average row
    num_picks: int  # how many the budget is expected to buy

    def gain_unit(self, num_rows: int) -> int:
        """What a gain of 1, the coverage of `num_rows` whole rows, is as an integer."""
        return ONE * self.weight_unit * self.coverage.unit * num_rows

    def scores_of(self, hash_N: np.ndarray, joint_ND: np.ndarray, width_a: int) -> np.ndarray:
        """The alignment scores of rows, int32 [N], as in `align_scores`."""
        if isinstance(self.scores, KnownScores):
            return self.scores.of(hash_N)
        return align_scores(hash_N, joint_ND, width_a, self.scores)

    def aligned(self, score_N: np.ndarray) -> np.ndarray:
        """The share of the alignment bonus that each row earns, float64 in [0, 1]."""
        r_N = alignment_of(score_N, self.scores)
        if self.align_form == "linear":
            return r_N
        if self.align_form == "gate":
            return (r_N >= self.align_threshold).astype(np.float64)
        return np.minimum(1.0, r_N / self.align_threshold)

    def bonus(self, score_N: np.ndarray, num_rows: int) -> np.ndarray:
        """What alignment adds to the gain of each row, int64 [N], in the unit of gains over `num_rows` rows."""
        if self.align_form in ("gate", "discount"):  # they change what may be picked, or what a pick covers
            return np.zeros(len(score_N), np.int64)
        scale = self.applied_lambda_align * self.gain_unit(num_rows) / self.num_picks
        return np.rint(self.aligned(score_N) * scale).astype(np.int64)

    def is_gated(self, score_N: np.ndarray) -> np.ndarray:
        """Rows that are picked only when nothing else is left, bool [N]."""
        if self.align_form != "gate" or self.applied_lambda_align == 0:
            return np.zeros(len(score_N), bool)
        return self.aligned(score_N) < 1

    def discount(self, score_N: np.ndarray) -> np.ndarray | None:
        """Of a pick's kernel to other rows, the share that counts, uint16 [N] in units of 1/65535; None = all."""
        if self.align_form != "discount" or self.applied_lambda_align == 0:
            return None
        return np.rint(self.aligned(score_N) * ONE).astype(np.uint16)

    @property
    def compared_parts(self) -> np.ndarray:
        """Places of the parts of the coverage that a dense kernel must hold, the joint one first where it is needed."""
        return self.coverage.needed(with_joint=self.lambda_div > 0)

    def redundancy_unit(self, num_rows: int) -> int:
        """What a pick loses at a kernel of 1 to an earlier pick, in the unit of gains over `num_rows` rows."""
        return round(self.lambda_div * self.gain_unit(num_rows) / self.num_picks)


def coverage(
    rows_ND: np.ndarray, picks_PD: np.ndarray, kernel: Kernel, *, base_N: np.ndarray | None = None,
    weight_N: np.ndarray | None = None,
) -> float:  # fmt: skip
    """Cov: the mean over rows of the largest kernel to a pick.

    Args:
        rows_ND: quantised joint embeddings, int16: the pool or a sample of it.
        picks_PD: the same of the picks.
        base_N: uint16, what the labeled samples cover already.
        weight_N: how much each row counts; all alike by default.
    """
    covered_N = largest_kernel(rows_ND, picks_PD, kernel)
    return float(mean_coverage(covered_N if base_N is None else np.maximum(covered_N, base_N), weight_N))


def alignment_term(aligned_P: np.ndarray) -> float:
    """Align: the mean over picks of the share of the bonus that each earns, such as min(1, r / t)."""
    return float(aligned_P.mean())


def redundancy(redundancy_P: np.ndarray) -> float:
    """Red: the mean over picks of the largest kernel to the picks before, uint16 [P] as `closest_before` gives it."""
    return float(redundancy_P.mean()) / ONE


def objective(coverage: float, alignment: float, redundancy: float, *, lambda_align: float, lambda_div: float) -> Terms:
    """The terms together."""
    value = coverage + lambda_align * alignment - lambda_div * redundancy
    return Terms(coverage, alignment, redundancy, value)


def mean_coverage(covered_N: np.ndarray, weight_N: np.ndarray | None) -> np.ndarray:
    """Of rows that are covered so far, uint16 [..., N], in [0, 1]."""
    return np.average(covered_N.astype(np.float64), axis=-1, weights=weight_N) / ONE


def largest_kernel(rows_ND: np.ndarray, to_PD: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The largest kernel of each row to any of `to_PD`, uint16 [N]."""
    covered_N = np.zeros(len(rows_ND), np.uint16)
    for start in range(0, len(to_PD), CHUNK_PICKS * 8):
        block = kernel_block(rows_ND, to_PD[start : start + CHUNK_PICKS * 8], kernel)
        covered_N = np.maximum(covered_N, block.max(axis=1))
    return covered_N


def closest_before(picks_PD: np.ndarray, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """The closest of the picks before each pick, int64 [P], -1 for the first, and the kernel to it, uint16 [P]."""
    nearest_P, distance_P = np.full(len(picks_PD), -1, np.int64), np.full(len(picks_PD), FAR, np.int32)
    for start in range(0, len(picks_PD), CHUNK_PICKS):
        stop = min(start + CHUNK_PICKS, len(picks_PD))
        block = square_distances(picks_PD[start:stop], picks_PD[:stop])
        block[np.arange(stop)[None, :] >= np.arange(start, stop)[:, None]] = FAR
        nearest_P[start:stop], distance_P[start:stop] = block.argmin(axis=1), block.min(axis=1)
    nearest_P[:1] = -1
    return nearest_P, np.where(nearest_P < 0, 0, kernel_of(distance_P, kernel)).astype(np.uint16)


def discounted(kernel_CN: np.ndarray, discount_C: np.ndarray | None) -> np.ndarray:
    """The kernel of each candidate to the rows (or to one of them), as far as it counts, uint16 [C, N] or [C]."""
    if discount_C is None:
        return kernel_CN
    share_C = discount_C.reshape(-1, *(1,) * (kernel_CN.ndim - 1)).astype(np.uint32)
    return (kernel_CN * share_C // ONE).astype(np.uint16)
