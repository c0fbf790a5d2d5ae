"""The merge: from the candidates of all cells to the shortlist and the shares of the regions, within the limits.

Gains inside a cell never rise, so the best by (gain per cost, id) are a prefix of every cell's list: the global greedy
on the objective in which cells do not cover each other. What cells cover of each other, the regions see.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.bag import SUB_CELLS, Candidates
from mmcsal.selection.links import Shortlist, places_of
from mmcsal.selection.plan import SHORTLIST_PER_PICK, Plan
from mmcsal.selection.region import MAX_DENSE_PICKS, Job
from mmcsal.selection.request import Pool

MAX_REGION_ROWS = 2**21
MAX_ROWS_EXPLAINED = 2**21  # pools up to here keep which pick stands for each row


def with_rows(plan: Plan) -> bool:
    """Whether the regions say which pick stands for each row."""
    return len(plan.attributes.hash_N) <= MAX_ROWS_EXPLAINED


def best(candidates: Candidates) -> np.ndarray:
    """Places of the candidates by (-gain per cost, sample_id), int64."""
    table = pa.table({"key": candidates.key_C, "sample_id": candidates.ids})
    keys = pc.SortOptions([("key", "descending"), ("sample_id", "ascending")])
    return pc.call_function("sort_indices", [table], keys).to_numpy().astype(np.int64)


def shortlisted(candidates: Candidates, plan: Plan) -> np.ndarray:
    """Hashes of the candidates that take part in the merge: the best, and of every quota enough to fill it."""
    order = best(candidates)
    chosen = [order[: plan.shortlist_size]]
    code_CQ = plan.attributes.codes(candidates.hash_C[order])
    for g, most in enumerate(plan.max_G):
        most = min(int(most), plan.num_picks)
        chosen.append(order[(code_CQ == g).any(axis=1)][: SHORTLIST_PER_PICK * most])
    for q in range(code_CQ.shape[1]):
        chosen.append(order[code_CQ[:, q] < 0][: plan.shortlist_size])
    return candidates.hash_C[np.unique(np.concatenate(chosen))]


def share_out(plan: Plan, candidates: Candidates, shortlist: Shortlist) -> tuple[list[list[int]], list[Job]]:
    """The bags of each region, and its share of the budget."""
    regions = _regions(plan)
    job = Job(plan.budget, plan.max_G, plan.min_G, plan.num_rows, with_rows=with_rows(plan))
    if len(regions) == 1:
        return regions, [job]
    # Several regions: the best candidates of all, taken within the limits, say what each of them gets.
    order = best(candidates)
    order = order[places_of(candidates.ids.take(pa.array(order)), shortlist.ids) >= 0]
    is_forced = np.isin(candidates.hash_C[order], plan.forced_hash)
    order = np.concatenate([order[is_forced], order[~is_forced]])
    hash_C = candidates.hash_C[order]
    cost_C, code_CQ = plan.attributes.costs(hash_C), plan.attributes.codes(hash_C)
    taken = fitting(cost_C, code_CQ, plan)
    region_of_bag = np.repeat(np.arange(len(regions)), [len(r) for r in regions])
    region_C = region_of_bag[plan.bag_of_cell[candidates.cell_C[order] // SUB_CELLS]]
    jobs = []
    for region in range(len(regions)):
        mine = taken[region_C[taken] == region]
        counts_G = np.array([(code_CQ[mine] == g).any(axis=1).sum() for g in range(len(plan.max_G))], np.int64)
        jobs.append(
            replace(
                job, budget=float(np.cumsum(cost_C[mine])[-1]) if len(mine) else 0.0, max_G=counts_G, min_G=counts_G * 0
            )
        )
    return regions, jobs


def _regions(plan: Plan) -> list[list[int]]:
    """Consecutive bags, as many as a region may hold."""
    num_bags = int(plan.bag_of_cell.max()) + 1
    num_regions = max(-(-plan.num_rows // MAX_REGION_ROWS), -(-plan.num_picks // MAX_DENSE_PICKS))
    return [part.tolist() for part in np.array_split(np.arange(num_bags), min(num_regions, num_bags))]


def fitting(cost_C: np.ndarray, code_CQ: np.ndarray, plan: Plan) -> np.ndarray:
    """Places of those that fit when taken one after the other: first what quotas need, then all."""
    left, room_G, need_G = plan.budget * (1 + 1e-12), plan.max_G.copy(), plan.min_G.copy()
    is_taken = np.zeros(len(cost_C), bool)
    for only_needed in (True, False):
        if only_needed and not need_G.any():
            continue
        for c in range(len(cost_C)):
            codes = code_CQ[c][code_CQ[c] >= 0]
            if is_taken[c] or cost_C[c] > left or (room_G[codes] <= 0).any():
                continue
            if only_needed and not (need_G[codes] > 0).any():
                continue
            is_taken[c] = True
            left -= cost_C[c]
            room_G[codes] -= 1
            need_G[codes] = np.maximum(need_G[codes] - 1, 0)
    return np.flatnonzero(is_taken)


def within_limits(plan: Plan, pool: Pool, hash_C: np.ndarray) -> np.ndarray:
    """Of rows in the order in which a strategy ranks them, those that the limits allow; forced ones in any case."""
    hash_C = np.concatenate([pool.forced_hash, hash_C[~np.isin(hash_C, pool.forced_hash)]])
    kept = fitting(plan.attributes.costs(hash_C), plan.attributes.codes(hash_C), plan)
    return hash_C[np.sort(kept)]


def needs(plan: Plan, hash_P: np.ndarray) -> np.ndarray:
    """Picks that each quota still lacks."""
    code_PQ = plan.attributes.codes(hash_P)
    counts_G = np.array([(code_PQ == g).any(axis=1).sum() for g in range(len(plan.min_G))], np.int64)
    return np.maximum(plan.min_G - counts_G, 0)
