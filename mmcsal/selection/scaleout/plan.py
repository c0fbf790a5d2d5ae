"""The plan of a selection: all that a task must know of the whole pool; fitted once and handed to every task."""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import ONE, Kernel
from mmcsal.selection.objective.alignment import Anchors, alignment_of, threshold_of
from mmcsal.selection.objective.constraints import Attributes
from mmcsal.selection.objective.density_weights import Tempering
from mmcsal.selection.scaleout.cell_tree import Tree
from mmcsal.selection.scaleout.ranking_sample import Targets
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies.classifier import FusedClassifier

SHORTLIST_PER_PICK = 3  # candidates that compete for a pick: with 2, one part in a hundred of the gain is lost
MIN_SHORTLIST = 1024
SURPLUS = 4  # candidates of a cell for each pick that falls to it by its share of the pool


@dataclass(frozen=True)
class Plan:
    """Fitted on small samples of the pool."""

    spec: SelectSpec
    anchors: Anchors
    kernel: Kernel
    width_a: int
    tree: Tree
    part_of_leaf_L: np.ndarray  # parts by hash that a leaf is cut into, where the tree could not split it
    first_cell_L: np.ndarray  # number of the first part of a leaf
    bag_of_cell: np.ndarray
    labeled_hash_L: np.ndarray
    labeled_LD: np.ndarray  # quantised joint embeddings of the labeled samples
    forced_hash: np.ndarray  # in the batch whatever they are worth
    closed_hash: np.ndarray  # never picked; they still count as pool
    wanted_hash: np.ndarray  # take part whatever their hash: forced rows, and enough of every quota for its minimum
    attributes: Attributes
    tempering: Tempering | None
    weight_unit: int  # weight of an average row
    solve_limit: int  # rows up to this hash take part in the greedy
    route_limit: int  # rows up to this hash take part in the exchange and in what picks represent
    num_rows: int  # rows that take part in the greedy
    num_open: int  # of these, how many may be picked
    num_routed: int
    num_picks: int  # how many the budget is expected to buy
    budget: float  # total cost
    cell_size: int
    max_cell_size: int
    lambda_align: float  # already scaled by its confidence
    min_G: np.ndarray  # least and largest number of picks, by quota
    max_G: np.ndarray
    targets: Targets  # rows that ranks are judged by
    seed: int
    classifier: FusedClassifier | None = None  # of the labels so far

    @property
    def shortlist_size(self) -> int:
        """Candidates that take part in the merge."""
        return min(max(SHORTLIST_PER_PICK * self.num_picks, MIN_SHORTLIST), self.num_open)

    @property
    def align_threshold(self) -> float:
        """The r from which a pair counts as aligned."""
        given = self.spec.align_threshold
        return threshold_of(self.anchors.mispaired_share) if given == "auto" else given

    @property
    def duplicate_kernel(self) -> int:
        return round(self.spec.duplicate_kernel * ONE)

    def gain_unit(self, num_rows: int) -> int:
        """What a gain of 1, the coverage of `num_rows` whole rows, is as an integer."""
        return ONE * self.weight_unit * num_rows

    def aligned(self, score_N: np.ndarray) -> np.ndarray:
        """The share of the alignment bonus that each row earns, float64 in [0, 1]."""
        r_N = alignment_of(score_N, self.anchors)
        if self.spec.align_form == "linear":
            return r_N
        if self.spec.align_form == "gate":
            return (r_N >= self.align_threshold).astype(np.float64)
        return np.minimum(1.0, r_N / self.align_threshold)

    def bonus(self, score_N: np.ndarray, num_rows: int) -> np.ndarray:
        """What alignment adds to the gain of each row, int64 [N], in the unit of gains over `num_rows` rows."""
        if self.spec.align_form in ("gate", "discount"):  # they change what may be picked, or what a pick covers
            return np.zeros(len(score_N), np.int64)
        scale = self.lambda_align * self.gain_unit(num_rows) / self.num_picks
        return np.rint(self.aligned(score_N) * scale).astype(np.int64)

    def is_gated(self, score_N: np.ndarray) -> np.ndarray:
        """Rows that are picked only when nothing else is left, bool [N]."""
        if self.spec.align_form != "gate" or self.lambda_align == 0:
            return np.zeros(len(score_N), bool)
        return self.aligned(score_N) < 1

    def discount(self, score_N: np.ndarray) -> np.ndarray | None:
        """Of a pick's kernel to other rows, the share that counts, uint16 [N] in units of 1/65535; None = all."""
        if self.spec.align_form != "discount" or self.lambda_align == 0:
            return None
        return np.rint(self.aligned(score_N) * ONE).astype(np.uint16)

    def redundancy_unit(self, num_rows: int) -> int:
        """What a pick loses at a kernel of 1 to an earlier pick, in the unit of gains over `num_rows` rows."""
        return round(self.spec.lambda_div * self.gain_unit(num_rows) / self.num_picks)


def discounted(kernel_CN: np.ndarray, discount_C: np.ndarray | None) -> np.ndarray:
    """The kernel of each candidate to the rows (or to one of them), as far as it counts, uint16 [C, N] or [C]."""
    if discount_C is None:
        return kernel_CN
    share_C = discount_C.reshape(-1, *(1,) * (kernel_CN.ndim - 1)).astype(np.uint32)
    return (kernel_CN * share_C // ONE).astype(np.uint16)
