"""The plan of a selection: all that a task must know of the whole pool; fitted once and handed to every task."""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.kernel import Kernel
from mmcsal.selection.objective.constraints import Attributes, BatchLimits, SampleRoles
from mmcsal.selection.objective.density_weights import Tempering
from mmcsal.selection.objective.terms import Objective
from mmcsal.selection.scaleout.cell_tree import CellMap
from mmcsal.selection.scaleout.ranking_sample import RankingSample
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies.classifier import FusedClassifier

SHORTLIST_PER_PICK = 3  # candidates that compete for a pick: with 2, one part in a hundred of the gain is lost
MIN_SHORTLIST = 1024
SURPLUS = 4  # candidates of a cell for each pick that falls to it by its share of the pool


@dataclass(frozen=True)
class Scope:
    """Which rows of the pool take part: those up to a hash."""

    num_rows: int  # in the greedy
    num_open: int  # of these, how many may be picked
    num_routed: int  # in the medoid refinement, and in what picks represent
    solve_limit: int  # the hash up to which `num_rows` rows lie
    route_limit: int  # the hash up to which `num_routed` rows lie


@dataclass(frozen=True)
class Plan:
    """Fitted on small samples of the pool."""

    spec: SelectSpec
    seed: int
    width_a: int  # columns of the first modality
    objective: Objective
    cells: CellMap
    scope: Scope
    roles: SampleRoles
    labeled_LD: np.ndarray  # quantised joint embeddings of the labeled samples
    wanted_hash: np.ndarray  # take part whatever their hash: forced rows, and enough of every quota for its minimum
    attributes: Attributes
    tempering: Tempering | None
    limits: BatchLimits
    ranking_sample: RankingSample
    classifier: FusedClassifier | None = None  # of the labels so far

    @property
    def kernel(self) -> Kernel:
        """Of the joint embedding."""
        return self.objective.coverage.joint

    @property
    def shortlist_size(self) -> int:
        """Candidates that take part in the merge."""
        return min(max(SHORTLIST_PER_PICK * self.limits.num_picks, MIN_SHORTLIST), self.scope.num_open)

    def takes_part(self, hash_N: np.ndarray, limit: int) -> np.ndarray:
        """Rows whose hash is at most `limit`, or that take part whatever their hash, bool [N]."""
        return (hash_N <= np.uint64(limit)) | np.isin(hash_N, self.wanted_hash)
