"""The exchange pass for few picks: each pick moves to the best medoid of what it covers.

With more than a thousand rows a pick, the greedy runs on a sample of the pool. The pass sees eight times as many rows
and repairs what the sample got wrong: inside the rows that are nearest to a pick, it takes the sample that
covers them best. A move never lowers the objective over the rows that were compared.
"""

import numpy as np

from mmcsal.selection.bag import Bag, Candidates, Plan, candidates_of, concat_candidates, labeled_kernel
from mmcsal.selection.greedy import lazy_greedy
from mmcsal.selection.kernel import kernel_block, nearest, square_distances
from mmcsal.selection.quantize import quantize

MAX_TARGETS = 4096  # rows of a pick's region that a medoid is judged by, those of lowest hash
MAX_MEDOIDS = 1024  # of these, how many are tried, those nearest to the region's centre


def exchange(bag: Bag, pick_hash_P: np.ndarray, plan: Plan) -> Candidates:
    """The moved picks of a bag, ranked in each cell by a greedy pass over them, with gains over all routed rows."""
    is_pick_N = np.isin(bag.hash_N, pick_hash_P)
    parts = []
    for cell in np.unique(bag.cell_N[is_pick_N]):
        rows = np.flatnonzero(bag.cell_N == cell)
        parts.append(_exchange_cell(bag.take(rows), np.flatnonzero(is_pick_N[rows]), int(cell), plan))
    return concat_candidates(parts)


def _exchange_cell(cell: Bag, pick_P: np.ndarray, number: int, plan: Plan) -> Candidates:
    owner_N, _ = nearest(cell.joint_ND, cell.joint_ND[pick_P])
    owner_N[pick_P] = np.arange(len(pick_P))
    moved = [_best_medoid(cell, np.flatnonzero(owner_N == p), int(pick), plan) for p, pick in enumerate(pick_P)]
    return _rank(cell, np.sort(np.array(moved)), number, plan)


def _best_medoid(cell: Bag, region: np.ndarray, pick: int, plan: Plan) -> int:
    """The row of a region that adds most over it; the pick itself where nothing is better."""
    targets = region[np.argsort(cell.hash_N[region])[:MAX_TARGETS]]
    open_rows = np.sort(targets[~cell.is_labeled_N[targets]])
    centre_1D = quantize(cell.joint_ND[targets].sum(axis=0, dtype=np.int64).astype(np.float64)[None] + 0.5)
    central = np.argsort(square_distances(cell.joint_ND[open_rows], centre_1D)[:, 0], kind="stable")[:MAX_MEDOIDS]
    tried = np.concatenate([[pick], np.sort(open_rows[central])])
    kernel_CN = kernel_block(cell.joint_ND[tried], cell.joint_ND[targets], plan.kernel)
    gain_C = np.maximum(kernel_CN, cell.base_N[targets]).sum(axis=1, dtype=np.int64)
    # The bonus is in the unit of all routed rows, and these targets stand for the region.
    gain_C = gain_C * len(region) // len(targets) + plan.bonus(cell.score_N[tried], plan.num_routed)
    return int(tried[gain_C.argmax()])  # the first of equals: the pick, then the lowest id


def _rank(cell: Bag, pick_P: np.ndarray, number: int, plan: Plan) -> Candidates:
    picks = lazy_greedy(
        kernel_block(cell.joint_ND[pick_P], cell.joint_ND, plan.kernel),
        pick_P,
        cell.base_N,
        plan.bonus(cell.score_N[pick_P], plan.num_routed),
        len(pick_P),
        redundancy_unit=plan.redundancy_unit(plan.num_routed),
        redundancy_C=labeled_kernel(cell.labeled_distance_N[pick_P], plan.kernel),
    )
    return candidates_of(cell, pick_P[picks.candidate_P], picks, number)
