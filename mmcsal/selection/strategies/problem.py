"""What a strategy is a function of: the whole pool, in the order of its ids."""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import Kernel
from mmcsal.selection.objective.coverage_parts import CoverageParts
from mmcsal.selection.strategies.classifier import FusedClassifier


@dataclass(frozen=True)
class Problem:
    """A pool as a strategy sees it. Strategies return row numbers, the best first; limits are kept afterwards."""

    hash_N: np.ndarray  # uint64: the order of samples and starts
    joint_ND: np.ndarray  # quantised joint embeddings, int16
    coverage: CoverageParts
    aligned_N: np.ndarray  # float64 in [0, 1]: share of the alignment bonus that a row earns
    bonus_N: np.ndarray  # int64: that bonus in the unit of gains
    applied_lambda_align: float  # what is left of it after scaling by confidence
    lambda_div: float
    redundancy_unit: int  # what a pick loses at a kernel of 1 to an earlier pick, in the unit of gains
    weight_N: np.ndarray  # int64; empty = every row counts once
    cover_NU: np.ndarray  # uint16: kernel to the nearest labeled sample
    is_labeled_N: np.ndarray
    is_open_N: np.ndarray  # may be picked
    cost_N: np.ndarray  # float64
    num_picks: int  # how many the budget is expected to buy
    num_ranked: int  # how many rows to rank: more than picks where limits may pass over some
    seed: int
    classifier: FusedClassifier | None = None  # of the labels so far; warm-start strategies need it

    @property
    def kernel(self) -> Kernel:
        """Of the joint embedding."""
        return self.coverage.joint

    @property
    def count_N(self) -> np.ndarray:
        """How often each row counts, int64: `weight_N`, written out where it is empty."""
        return self.weight_N if len(self.weight_N) else np.ones(len(self.hash_N), np.int64)

    @property
    def trained(self) -> FusedClassifier:
        """The classifier, where there is one: the request was checked for it."""
        if self.classifier is None:
            raise ValueError("a warm-start strategy without a classifier")
        return self.classifier

    def highest(self, rows_C: np.ndarray, score_C: np.ndarray) -> np.ndarray:
        """Of some rows those of highest score, the best first, as many as are to be ranked; ties by hash."""
        return rows_C[np.lexsort((self.hash_N[rows_C], -score_C))][: self.num_ranked]
