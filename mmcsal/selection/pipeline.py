"""Selection as steps over shards, buckets and subproblems; a runner decides where they run, never what they return.

Steps are pure functions of a shard or a bucket and of arguments that every task gets. Between them only hashes,
samples, integers, candidates and their vectors come back here. So the result is bit-identical in one process and on a
cluster.

    shards --route--> buckets --propose--> candidates --best--> shortlist --neighbors--> subproblems --solve--> batch
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection.planning import make_plan
from mmcsal.selection.result import Selection, SolverOutcome, make_selection
from mmcsal.selection.runner import Runner
from mmcsal.selection.scaleout.allocation import fitting, lacking, share_out, shortlisted, whole, within_limits
from mmcsal.selection.scaleout.buckets import Bucket, Candidates, propose, route, rows_of_hash
from mmcsal.selection.scaleout.medoid_refinement import refine_medoids
from mmcsal.selection.scaleout.neighbors import Shortlist, find_neighbors, shortlist_of
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.scaleout.request import Pool, Request, check_classifier, make_pool
from mmcsal.selection.scaleout.shard import NUM_NAMED, ShardSummary, ids_of
from mmcsal.selection.scaleout.subproblem import SubproblemSolution, solve_subproblem
from mmcsal.selection.scaleout.whole_pool import rank_pool
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies import MmcsalSpec


@dataclass(frozen=True)
class Solution:
    """The batch that the solver found: the solutions of all subproblems, as places in one shortlist."""

    shortlist: Shortlist
    solved: list[SubproblemSolution]

    @property
    def hashes(self) -> np.ndarray:
        """Of all picks, subproblem by subproblem."""
        return np.concatenate([self.shortlist.hash_C[s.pick_P] for s in self.solved])


def select(runner: Runner, request: Request, *, seed: int) -> Selection:
    """Selects from the shards that `runner` holds.

    Raises:
        TableError: rows that break the contract.
        InputError: what is asked for and the pool do not fit.
    """
    summaries = runner.prepare(request.spec.bad_rows)
    pool = make_pool(request, _hashes(runner, summaries))
    check_classifier(request, summaries[0].widths)
    planned = make_plan(runner, request, pool, summaries[0], seed=seed)
    plan = planned.plan
    runner.shuffle(route, plan.cells.num_buckets, plan)
    candidates = Candidates.concat(runner.over_buckets(propose if _has_cells(request.spec) else rank_pool, plan))
    solution = _solve(runner, plan, pool, candidates)
    if plan.scope.num_routed > plan.scope.num_rows:
        moved = [pair for pair in runner.over_buckets(refine_medoids, solution.hashes, plan) if len(pair[0])]
        solution = _fix(runner, plan, np.concatenate([after for _, after in moved]), plan.scope.num_routed)
    solution = _filled(runner, plan, pool, solution)
    bad_rows = [row for summary in summaries for row in summary.bad_rows]
    outcome = SolverOutcome(planned, pool, candidates, solution.shortlist, solution.solved, bad_rows)
    return make_selection(outcome, request)


def _has_cells(spec: SelectSpec) -> bool:
    return isinstance(spec.strategy, MmcsalSpec)


def _hashes(runner: Runner, summaries: list[ShardSummary]) -> np.ndarray:
    """The hashes of all rows, rising.

    Raises:
        TableError: no rows, widths that differ, ids that occur twice.
    """
    _check_widths(summaries)
    hash_N = np.sort(np.concatenate([s.hash_N for s in summaries])) if summaries else np.zeros(0, np.uint64)
    if not len(hash_N):
        raise TableError("embeddings: no rows to select from; check the folder, or the rejects of the stages before")
    repeated = np.unique(hash_N[1:][hash_N[1:] == hash_N[:-1]])
    if len(repeated):
        first = sorted({i for ids in runner.over_shards(ids_of, repeated[:NUM_NAMED]) for i in ids})
        raise TableError(
            f"embeddings: {len(repeated)} sample_ids occur in more than one place, first {first}; ids must be unique"
        )
    return hash_N


def _check_widths(summaries: list[ShardSummary]) -> None:
    first: dict[tuple[int, int], str] = {}
    for s in summaries:
        first.setdefault(s.widths, s.name)
    if len(first) > 1:
        found = ", ".join(f"{widths[0]} and {widths[1]} in {name}" for widths, name in first.items())
        raise TableError(f"embeddings: widths differ between files: {found}; all must come from one model")


def _solve(runner: Runner, plan: Plan, pool: Pool, candidates: Candidates) -> Solution:
    """The batch from what the cells proposed."""
    wanted = shortlisted(candidates, plan) if _has_cells(plan.spec) else candidates.hash_C
    shortlist = _fetched(runner, np.union1d(wanted, pool.roles.forced_hash))
    if _has_cells(plan.spec):
        subproblems = share_out(plan, candidates, shortlist)
    else:  # the order of the strategy is the batch, as far as the limits allow
        fixed_hash = within_limits(plan, pool, candidates.hash_C[np.argsort(candidates.rank_C)])
        subproblems = [whole(plan, shortlist, fixed_hash=fixed_hash, keep_order=True)]
    parts = [shortlist.take(subproblem.place_C) for subproblem in subproblems]
    solved = runner.over_subproblems(
        [subproblem.buckets for subproblem in subproblems],
        find_neighbors,
        [(part, plan, plan.scope.solve_limit, plan.scope.num_rows) for part in parts],
        solve_subproblem,
        [(part, plan, subproblem.allotment) for part, subproblem in zip(parts, subproblems, strict=True)],
    )
    places = [subproblem.place_C for subproblem in subproblems]
    return Solution(shortlist, [s.placed(place_C) for s, place_C in zip(solved, places, strict=True)])


def _fix(runner: Runner, plan: Plan, pick_hash_P: np.ndarray, num_rows: int, *, keep_order: bool = False) -> Solution:
    """These picks as a batch over all routed rows: what each stands for, and their ranks."""
    shortlist = _fetched(runner, pick_hash_P)
    everything = whole(plan, shortlist, budget=np.inf, num_rows=num_rows, fixed_hash=pick_hash_P, keep_order=keep_order)
    common, last_common = (shortlist, plan, plan.scope.route_limit, num_rows), (shortlist, plan, everything.allotment)
    solved = runner.over_subproblems([everything.buckets], find_neighbors, [common], solve_subproblem, [last_common])
    return Solution(shortlist, solved)


def _fetched(runner: Runner, hash_C: np.ndarray) -> Shortlist:
    return shortlist_of(Bucket.concat(runner.over_buckets(rows_of_hash, hash_C)))


def _filled(runner: Runner, plan: Plan, pool: Pool, solution: Solution) -> Solution:
    """The solution with what the budget still buys, where the shortlist held no more: rows of lowest hash.

    Raises:
        InputError: the limits leave samples of a quota without a place.
    """
    ranked = solution.hashes
    is_forced_P = np.isin(ranked, pool.roles.forced_hash)
    picked = np.concatenate([ranked[is_forced_P], ranked[~is_forced_P]])
    rest = pool.hash_N[pool.roles.is_open(pool.hash_N) & ~np.isin(pool.hash_N, picked)]
    left = pool.limits.budget - float(plan.attributes.costs(picked).sum())
    can_buy = len(rest) > 0 and bool((plan.attributes.costs(rest) <= left).any())
    if can_buy or lacking(plan, picked).any():
        hash_C = np.concatenate([picked, rest[plan.takes_part(rest, plan.scope.route_limit)]])
        costs, codes = plan.attributes.costs(hash_C), plan.attributes.codes(hash_C)
        filled = hash_C[fitting(costs, codes, plan, num_forced=int(is_forced_P.sum()))]
        lacking_G = lacking(plan, filled)
        if (pool.attributes.cost_N is None and len(filled) < pool.limits.budget) or lacking_G.any():
            unmet = [f"{q.column}={q.value!r}" for q, need in zip(plan.spec.quotas, lacking_G, strict=True) if need]
            raise InputError(
                f"select.quotas: the budget of {pool.limits.budget:g} cannot be spent within all limits: {len(filled)} "
                f"samples fit{', unmet: ' + ', '.join(unmet) if unmet else ''}; relax the quotas or raise the budget"
            )
        if not np.array_equal(np.sort(filled), np.sort(picked)):
            order = np.concatenate([ranked[np.isin(ranked, filled)], filled[~np.isin(filled, ranked)]])
            return _fix(runner, plan, order, plan.scope.num_routed, keep_order=True)
    return solution
