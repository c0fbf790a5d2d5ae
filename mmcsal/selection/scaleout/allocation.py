"""The allocation: from the candidates of all cells to the shortlist, and what each subproblem gets of the limits.

Gains inside a cell never rise, so the best by (gain per cost, id) are a prefix of every cell's list: the global greedy
on the objective in which cells do not cover each other. What cells cover of each other, the subproblems see.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.objective.constraints import picks_by_quota
from mmcsal.selection.scaleout.buckets import Candidates
from mmcsal.selection.scaleout.neighbors import Shortlist, places_of
from mmcsal.selection.scaleout.plan import SHORTLIST_PER_PICK, Plan
from mmcsal.selection.scaleout.request import Pool
from mmcsal.selection.scaleout.subproblem import Allotment

MAX_SUBPROBLEM_ROWS = 2**21
MAX_SUBPROBLEM_PICKS = 16384  # each swap looks through all of them
MAX_ROWS_EXPLAINED = 2**21  # pools up to here keep which pick stands for each row


def with_rows(plan: Plan) -> bool:
    """Whether the subproblems say which pick stands for each row."""
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
    for g, most in enumerate(plan.limits.max_G):
        most = min(int(most), plan.limits.num_picks)
        chosen.append(order[(code_CQ == g).any(axis=1)][: SHORTLIST_PER_PICK * most])
    for q in range(code_CQ.shape[1]):
        chosen.append(order[code_CQ[:, q] < 0][: plan.shortlist_size])
    return candidates.hash_C[np.unique(np.concatenate(chosen))]


@dataclass(frozen=True)
class Subproblem:
    """Consecutive buckets that are solved as one."""

    buckets: list[int]
    place_C: np.ndarray  # of its candidates in the shortlist, rising
    allotment: Allotment


def share_out(plan: Plan, candidates: Candidates, shortlist: Shortlist) -> list[Subproblem]:
    """The subproblems of the pool."""
    buckets_by_subproblem, one = _buckets_by_subproblem(plan), whole(plan, shortlist)
    if len(buckets_by_subproblem) == 1:
        return [one]
    subproblem_of_bucket = np.repeat(
        np.arange(len(buckets_by_subproblem)), [len(buckets) for buckets in buckets_by_subproblem]
    )
    cell_C, _ = plan.cells.assign(shortlist.hash_C, shortlist.joint_CD, plan.objective.coverage)
    subproblem_C = subproblem_of_bucket[plan.cells.bucket_of_cell[cell_C]]
    # Several subproblems: the best candidates of all, taken within the limits, say what each of them gets.
    place_C = places_of(candidates.ids.take(pa.array(best(candidates))), shortlist.ids)
    forced = np.flatnonzero(np.isin(shortlist.hash_C, plan.roles.forced_hash))  # cells need not have proposed them
    order = np.concatenate([forced, place_C[(place_C >= 0) & ~np.isin(place_C, forced)]])
    hash_C = shortlist.hash_C[order]
    cost_C, code_CQ = plan.attributes.costs(hash_C), plan.attributes.codes(hash_C)
    taken = fitting(cost_C, code_CQ, plan, num_forced=len(forced))
    subproblems, need_G = [], plan.limits.min_G
    for number, buckets in enumerate(buckets_by_subproblem):
        mine = taken[subproblem_C[order[taken]] == number]
        counts_G = picks_by_quota(code_CQ[mine], len(plan.limits.max_G))
        budget = float(np.cumsum(cost_C[mine])[-1]) if len(mine) else 0.0
        share = replace(one.allotment, budget=budget, max_G=counts_G, min_G=np.minimum(counts_G, need_G))
        subproblems.append(Subproblem(buckets, np.flatnonzero(subproblem_C == number), share))
        need_G = need_G - share.min_G
    return subproblems


def whole(plan: Plan, shortlist: Shortlist, **other: Any) -> Subproblem:
    """All buckets as one subproblem, which gets the whole budget; `other` fields of its allotment."""
    buckets = list(range(plan.cells.num_buckets))
    allotment = Allotment(
        plan.limits.budget, plan.limits.max_G, plan.limits.min_G, plan.scope.num_rows, with_rows=with_rows(plan)
    )
    return Subproblem(buckets, np.arange(len(shortlist.hash_C)), replace(allotment, **other))


def _buckets_by_subproblem(plan: Plan) -> list[list[int]]:
    """Consecutive buckets, as many as a subproblem may hold."""
    num_buckets = plan.cells.num_buckets
    num_subproblems = max(
        -(-plan.scope.num_rows // MAX_SUBPROBLEM_ROWS), -(-plan.limits.num_picks // MAX_SUBPROBLEM_PICKS)
    )
    return [part.tolist() for part in np.array_split(np.arange(num_buckets), min(num_subproblems, num_buckets))]


def fitting(cost_C: np.ndarray, code_CQ: np.ndarray, plan: Plan, num_forced: int = 0) -> np.ndarray:
    """Places of those that fit when taken one after the other: the first `num_forced`, what quotas need, then all."""
    left, room_G, need_G = plan.limits.budget * (1 + 1e-12), plan.limits.max_G.copy(), plan.limits.min_G.copy()
    is_taken = np.zeros(len(cost_C), bool)
    for only_needed, stop in ((False, num_forced), (True, len(cost_C)), (False, len(cost_C))):
        if only_needed and not need_G.any():
            continue
        for c in range(stop):
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
    hash_C = np.concatenate([pool.roles.forced_hash, hash_C[~np.isin(hash_C, pool.roles.forced_hash)]])
    costs, codes = plan.attributes.costs(hash_C), plan.attributes.codes(hash_C)
    kept = fitting(costs, codes, plan, num_forced=len(pool.roles.forced_hash))
    return hash_C[np.sort(kept)]


def lacking(plan: Plan, hash_P: np.ndarray) -> np.ndarray:
    """Picks that each quota still lacks."""
    counts_G = picks_by_quota(plan.attributes.codes(hash_P), len(plan.limits.min_G))
    return np.maximum(plan.limits.min_G - counts_G, 0)
