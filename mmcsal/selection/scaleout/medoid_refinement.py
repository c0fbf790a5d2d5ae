"""Medoid refinement for few picks: each pick moves to the best medoid of what it covers.

With more than a thousand rows a pick, the solver works on a sample of the pool. The pass sees eight times as many rows
and repairs what the sample got wrong: inside the rows that are nearest to a pick, it takes the sample that covers them
best. A move never lowers the objective over the rows that were compared, and keeps the limits: the new pick has the
quota values of the old one and costs no more.
"""

import numpy as np

from mmcsal.selection.numerics.kernel import kernel_block, nearest, square_distances
from mmcsal.selection.numerics.quantize import quantize
from mmcsal.selection.objective.terms import discounted
from mmcsal.selection.scaleout.buckets import Bucket
from mmcsal.selection.scaleout.plan import Plan

MAX_JUDGING_ROWS = 4096  # rows of a pick's territory that a medoid is judged by, those of lowest hash
MAX_MEDOIDS = 1024  # of these, how many are tried, those nearest to the territory's centre


def refine_medoids(bucket: Bucket, pick_hash_P: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the picks in a bucket, and of what each of them moves to."""
    before, after = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    is_pick_N = np.isin(bucket.hash_N, pick_hash_P)
    for cell in np.unique(bucket.cell_N[is_pick_N]):
        rows = np.flatnonzero(bucket.cell_N == cell)
        picks = np.flatnonzero(is_pick_N[rows])
        before.append(bucket.hash_N[rows[picks]])
        after.append(_refine_in_cell(bucket.take(rows), picks, plan))
    return np.concatenate(before), np.concatenate(after)


def _refine_in_cell(cell: Bucket, pick_P: np.ndarray, plan: Plan) -> np.ndarray:
    coverage = plan.objective.coverage
    owner_UN = []
    for part in (coverage.parts[u] for u in coverage.counted):
        owner_N, _ = nearest(part.of(cell.joint_ND), part.of(cell.joint_ND[pick_P]))
        owner_N[pick_P] = np.arange(len(pick_P))
        owner_UN.append(owner_N)
    moved = [
        _best_medoid(cell, [np.flatnonzero(owner_N == p) for owner_N in owner_UN], int(pick), plan)
        for p, pick in enumerate(pick_P)
    ]
    return cell.hash_N[moved]


def _best_medoid(cell: Bucket, territories: list[np.ndarray], pick: int, plan: Plan) -> int:
    """The row of the territories that adds most over them; the pick itself where nothing is better.

    Args:
        territories: rows that are nearest to the pick, by each part of the coverage that counts.
    """
    if cell.hash_N[pick] in plan.roles.forced_hash:
        return pick
    judging_by_part = [rows[np.argsort(cell.hash_N[rows])[:MAX_JUDGING_ROWS]] for rows in territories]
    judging = np.unique(np.concatenate(judging_by_part))
    possible = judging[_may_replace(cell, judging, pick, plan)]
    centre_1D = quantize(cell.joint_ND[judging].sum(axis=0, dtype=np.int64).astype(np.float64)[None] + 0.5)
    central = np.argsort(square_distances(cell.joint_ND[possible], centre_1D)[:, 0], kind="stable")[:MAX_MEDOIDS]
    tried = np.concatenate([[pick], np.sort(possible[central])])
    gain_C = plan.objective.bonus(cell.score_N[tried], plan.scope.num_routed)  # in the unit of all routed rows
    for u, territory, rows in zip(plan.objective.coverage.counted, territories, judging_by_part, strict=True):
        # The judging rows stand for the territory.
        gain_C = gain_C + _covered(cell, tried, rows, int(u), plan) * len(territory) // len(rows)
    return int(tried[gain_C.argmax()])  # the first of equals: the pick, then the lowest id


def _covered(cell: Bucket, tried: np.ndarray, judging: np.ndarray, place: int, plan: Plan) -> np.ndarray:
    """What each row that is tried, with what is covered anyway, covers of the judging rows by a part, int64."""
    part, weights = plan.objective.coverage.parts[place], cell.solver_weights(plan)
    kernel_CN = kernel_block(part.of(cell.joint_ND[tried]), part.of(cell.joint_ND[judging]), part.kernel)
    kernel_CN = discounted(kernel_CN, plan.objective.discount(cell.score_N[tried]))
    covered_CN = np.maximum(kernel_CN, np.maximum(cell.cover_NU, cell.around_NU)[judging, place])
    return part.weight * (covered_CN @ weights[judging] if len(weights) else covered_CN.sum(axis=1, dtype=np.int64))


def _may_replace(cell: Bucket, rows: np.ndarray, pick: int, plan: Plan) -> np.ndarray:
    """Open rows of the pick's quotas that cost no more than it, bool."""
    hash_R, hash_1 = cell.hash_N[rows], cell.hash_N[[pick]]
    is_same = (plan.attributes.codes(hash_R) == plan.attributes.codes(hash_1)).all(axis=1)
    is_paid = plan.attributes.costs(hash_R) <= plan.attributes.costs(hash_1)
    return cell.is_open_N[rows] & is_same & is_paid & ~plan.objective.is_gated(cell.score_N[rows])
