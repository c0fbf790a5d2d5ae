"""Selection as steps over shards, bags and regions; the runner decides where they run, never what they return.

Steps are pure functions of a shard or a bag and of arguments that every task gets. Between them only hashes, samples,
integers, candidates and their vectors come back here. So the result is bit-identical in one process and on a cluster.

    shards --route--> bags --propose--> candidates --best--> shortlist --link--> regions --solve--> batch
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection.numerics.bandwidth import merge_bandwidth, nearest_references, neighbour_rank, sample_sizes
from mmcsal.selection.numerics.kernel import Kernel, make_kernel
from mmcsal.selection.objective.alignment import confidence, fit_anchors
from mmcsal.selection.objective.density_weights import WEIGHT_UNIT, Tempering, fit_tempering, row_weights
from mmcsal.selection.result import Outcome, Selection, make_selection
from mmcsal.selection.runner import Runner
from mmcsal.selection.scaleout.allocation import fitting, needs, share_out, shortlisted, whole, within_limits
from mmcsal.selection.scaleout.buckets import (
    MAX_TRAIN_ROWS,
    Bag,
    Candidates,
    labeled_kernel,
    propose,
    route,
    rows_of_hash,
)
from mmcsal.selection.scaleout.cell_tree import Tree, fit_tree
from mmcsal.selection.scaleout.medoid_refinement import exchange
from mmcsal.selection.scaleout.neighbors import Shortlist, link, shortlist_of
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.scaleout.ranking_sample import Targets, num_targets
from mmcsal.selection.scaleout.request import Pool, Request, check_classifier, make_pool
from mmcsal.selection.scaleout.shard import (
    NUM_NAMED,
    Rows,
    Sample,
    Survey,
    gather,
    ids_of,
    merge_samples,
)
from mmcsal.selection.scaleout.subproblem import Solved, solve_region
from mmcsal.selection.scaleout.whole_pool import rank_pool
from mmcsal.selection.solvers.dense_greedy import NOTHING
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies import MmcsalSpec

TRAIN_ROWS_PER_CELL, MIN_TRAIN_ROWS = 48, 4096  # of the tree
MAX_BAG_ROWS = 8192
MAX_BAGS = 1024
EXCHANGE_ROWS = 8  # times the rows that the solver saw


@dataclass(frozen=True)
class Batch:
    """The solved regions as one."""

    shortlist: Shortlist
    solved: list[Solved]

    @property
    def hashes(self) -> np.ndarray:
        """Of all picks, region by region."""
        return np.concatenate([self.shortlist.hash_C[s.pick_P] for s in self.solved])


def select(runner: Runner, request: Request, *, seed: int) -> Selection:
    """Selects from the shards that `runner` holds.

    Raises: TableError: rows that break the contract. InputError: what is asked for and the pool do not fit.
    """
    surveys = runner.prepare(request.spec.bad_rows)
    pool = make_pool(request, _hashes(runner, surveys))
    check_classifier(request, surveys[0].widths)
    plan, sample = _plan(runner, request, pool, width_a=surveys[0].widths[0], seed=seed)
    num_bags = int(plan.bag_of_cell.max()) + 1
    runner.shuffle(route, num_bags, plan)
    candidates = Candidates.concat(runner.over_bags(propose if _has_cells(request.spec) else rank_pool, plan))
    batch = _solve(runner, plan, pool, candidates)
    if plan.num_routed > plan.num_rows:
        moved = [pair for pair in runner.over_bags(exchange, batch.hashes, plan) if len(pair[0])]
        batch = _fix(runner, plan, np.concatenate([after for _, after in moved]), plan.num_routed)
    batch = _filled(runner, plan, pool, batch)
    bad_rows = [row for survey in surveys for row in survey.bad_rows]
    outcome = Outcome(plan, pool, sample, candidates, batch.shortlist, batch.solved, bad_rows)
    return make_selection(outcome, request)


def _has_cells(spec: SelectSpec) -> bool:
    return isinstance(spec.strategy, MmcsalSpec)


def _hashes(runner: Runner, surveys: list[Survey]) -> np.ndarray:
    """The hashes of all rows, rising.

    Raises: TableError: no rows, widths that differ, ids that occur twice.
    """
    _check_widths(surveys)
    hash_N = np.sort(np.concatenate([s.hash_N for s in surveys])) if surveys else np.zeros(0, np.uint64)
    if not len(hash_N):
        raise TableError("embeddings: no rows to select from; check the folder, or the rejects of the stages before")
    repeated = np.unique(hash_N[1:][hash_N[1:] == hash_N[:-1]])
    if len(repeated):
        first = sorted({i for ids in runner.over_shards(ids_of, repeated[:NUM_NAMED]) for i in ids})
        raise TableError(
            f"embeddings: {len(repeated)} sample_ids occur in more than one place, first {first}; ids must be unique"
        )
    return hash_N


def _check_widths(surveys: list[Survey]) -> None:
    first: dict[tuple[int, int], str] = {}
    for s in surveys:
        first.setdefault(s.widths, s.name)
    if len(first) > 1:
        found = ", ".join(f"{widths[0]} and {widths[1]} in {name}" for widths, name in first.items())
        raise TableError(f"embeddings: widths differ between files: {found}; all must come from one model")


def _plan(runner: Runner, request: Request, pool: Pool, *, width_a: int, seed: int) -> tuple[Plan, Sample]:
    spec = request.spec
    num_covering = pool.num_picks + len(pool.labeled_hash_L)
    num_rows = num_routed = len(pool.hash_N)
    strategy = spec.strategy if isinstance(spec.strategy, MmcsalSpec) else MmcsalSpec()
    if isinstance(spec.strategy, MmcsalSpec):
        if num_rows > strategy.max_rows_per_pick * num_covering:
            num_rows = max(strategy.max_rows_per_pick // 2, 1) * num_covering
            num_routed = min(EXCHANGE_ROWS * num_rows, num_routed)
    elif num_rows > spec.strategy.max_pool_size:
        raise InputError(
            f"select.strategy: {spec.strategy.kind} compares all rows of a pool on one machine, and this one has "
            f"{num_rows}; use strategy.kind=mmcsal, or raise strategy.max_pool_size ({spec.strategy.max_pool_size})"
        )
    sample = merge_samples(runner.over_shards(gather, pool.limit(MAX_TRAIN_ROWS), pool.labeled_hash_L))
    kernel = make_kernel(_bandwidth(runner, pool, sample, num_rows, num_covering))
    is_low = sample.hash_N <= np.uint64(pool.limit(spec.num_anchors))
    anchors = fit_anchors(
        sample.hash_N[is_low], sample.joint_ND[is_low], width_a,
        score=spec.align_score, calibration=spec.align_calibration,
    )  # fmt: skip
    max_cell = strategy.max_cell_size
    cell_size = int(np.clip(4 * num_rows // pool.num_picks, max_cell // 8, max_cell // 2))
    is_one_cell = num_rows <= max_cell or not _has_cells(spec)
    tree = _tree(pool, sample, num_rows, num_rows if is_one_cell else cell_size)
    parts_L, first_cell_L, bag_of_cell = _bags(tree, num_routed / num_rows, whole=not _has_cells(spec))
    solve_limit = pool.limit(num_rows)
    in_pool = sample.hash_N <= np.uint64(pool.limit(MAX_TRAIN_ROWS))
    tempering = fit_tempering(sample.joint_ND[in_pool], kernel, spec.tempering) if spec.tempering else None
    labeled_LD = sample.joint_ND[np.isin(sample.hash_N, pool.labeled_hash_L)]
    has_weights = pool.attributes.weight_N is not None or spec.tempering > 0
    plan = Plan(
        spec=spec,
        anchors=anchors,
        kernel=kernel,
        width_a=width_a,
        tree=tree,
        part_of_leaf_L=parts_L,
        first_cell_L=first_cell_L,
        bag_of_cell=bag_of_cell,
        labeled_hash_L=pool.labeled_hash_L,
        labeled_LD=labeled_LD,
        forced_hash=pool.forced_hash,
        closed_hash=pool.closed_hash,
        wanted_hash=pool.wanted_hash(),
        attributes=pool.attributes,
        tempering=tempering,
        weight_unit=WEIGHT_UNIT if has_weights else 1,
        solve_limit=solve_limit,
        route_limit=pool.limit(num_routed),
        num_rows=num_rows,
        num_open=max(pool.num_open(solve_limit), 1),
        num_routed=num_routed,
        num_picks=pool.num_picks,
        budget=pool.budget,
        cell_size=cell_size,
        max_cell_size=num_rows if not _has_cells(spec) else max_cell,
        lambda_align=spec.lambda_align * (confidence(anchors.separation) if spec.scale_by_confidence else 1.0),
        min_G=pool.min_G,
        max_G=pool.max_G,
        targets=_targets(pool, sample, kernel, labeled_LD, tempering),
        seed=seed,
        classifier=request.classifier,
    )
    return plan, sample


def _targets(pool: Pool, sample: Sample, kernel: Kernel, labeled_LD, tempering: Tempering | None) -> Targets:
    """The rows of lowest hash, as far as ranks need them."""
    rows = sample.hash_N <= np.uint64(pool.limit(num_targets(pool.num_picks, len(pool.hash_N))))
    hash_R, joint_RD = sample.hash_N[rows], sample.joint_ND[rows]
    has_weights = pool.attributes.weight_N is not None or tempering is not None
    weight_R = row_weights(hash_R, joint_RD, pool.attributes, tempering) if has_weights else NOTHING
    return Targets(joint_RD, labeled_kernel(joint_RD, labeled_LD, kernel), weight_R)


def _bandwidth(runner: Runner, pool: Pool, sample: Sample, num_rows: int, num_covering: int) -> int:
    rank = neighbour_rank(num_rows, num_covering)
    num_queries, num_references, reference_rank = sample_sizes(num_rows, rank)
    queries = sample.hash_N <= np.uint64(pool.limit(num_queries))
    limit, query_QD, query_hash_Q = pool.limit(num_references), sample.joint_ND[queries], sample.hash_N[queries]
    found = runner.over_shards(_nearest_references, limit, query_QD, query_hash_Q, reference_rank)
    return merge_bandwidth(found, reference_rank)


def _nearest_references(rows: Rows, limit: int, query_QD: np.ndarray, query_hash_Q: np.ndarray, rank: int):
    below = rows.below(limit)
    return nearest_references(rows.joint_ND[below], rows.hash_N[below], query_QD, query_hash_Q, rank)


def _tree(pool: Pool, sample: Sample, num_rows: int, cell_size: int) -> Tree:
    num_train = min(max(TRAIN_ROWS_PER_CELL * num_rows // cell_size, MIN_TRAIN_ROWS), MAX_TRAIN_ROWS, num_rows)
    train = sample.hash_N <= np.uint64(pool.limit(num_train))
    return fit_tree(sample.joint_ND[train], num_rows=num_rows, cell_size=cell_size)


def _bags(tree: Tree, growth: float, *, whole: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of each leaf, the first cell of each leaf, and the bag of each cell: neighbours in the tree share bags."""
    size_L = tree.leaf_size_L * growth
    bag_rows = np.inf if whole else max(MAX_BAG_ROWS, size_L.sum() / MAX_BAGS)
    parts_L = np.maximum(1, np.ceil(size_L / (1.25 * bag_rows))).astype(np.int64)
    first_cell_L = np.cumsum(parts_L) - parts_L
    bags, filled = [], np.inf
    for size in np.repeat(size_L / parts_L, parts_L):
        is_new = not bags or filled + size > bag_rows
        bags.append((bags[-1] if bags else -1) + int(is_new))
        filled = size + (0.0 if is_new else filled)
    return parts_L, first_cell_L, np.array(bags, np.int64)


def _solve(runner: Runner, plan: Plan, pool: Pool, candidates: Candidates) -> Batch:
    """The batch from what the cells proposed."""
    wanted = shortlisted(candidates, plan) if _has_cells(plan.spec) else candidates.hash_C
    shortlist = _fetched(runner, np.union1d(wanted, pool.forced_hash))
    if _has_cells(plan.spec):
        regions = share_out(plan, candidates, shortlist)
    else:  # the order of the strategy is the batch, as far as the limits allow
        fixed_hash = within_limits(plan, pool, candidates.hash_C[np.argsort(candidates.rank_C)])
        regions = [whole(plan, shortlist, fixed_hash=fixed_hash, keep_order=True)]
    parts = [shortlist.take(region.place_C) for region in regions]
    solved = runner.over_regions(
        [region.bags for region in regions],
        link,
        [(part, plan, plan.solve_limit, plan.num_rows) for part in parts],
        solve_region,
        [(part, plan, region.job) for part, region in zip(parts, regions, strict=True)],
    )
    return Batch(shortlist, [s.placed(region.place_C) for s, region in zip(solved, regions, strict=True)])


def _fix(runner: Runner, plan: Plan, pick_hash_P: np.ndarray, num_rows: int, *, keep_order: bool = False) -> Batch:
    """These picks as a batch over all routed rows: what each stands for, and their ranks."""
    shortlist = _fetched(runner, pick_hash_P)
    all_ = whole(plan, shortlist, budget=np.inf, num_rows=num_rows, fixed_hash=pick_hash_P, keep_order=keep_order)
    common, job = (shortlist, plan, plan.route_limit, num_rows), (shortlist, plan, all_.job)
    return Batch(shortlist, runner.over_regions([all_.bags], link, [common], solve_region, [job]))


def _fetched(runner: Runner, hash_C: np.ndarray) -> Shortlist:
    return shortlist_of(Bag.concat(runner.over_bags(rows_of_hash, hash_C)))


def _filled(runner: Runner, plan: Plan, pool: Pool, batch: Batch) -> Batch:
    """The batch with what the budget still buys, where the shortlist held no more: rows of lowest hash.

    Raises: InputError: the limits leave samples of a quota without a place.
    """
    ranked = batch.hashes
    is_forced_P = np.isin(ranked, pool.forced_hash)
    picked = np.concatenate([ranked[is_forced_P], ranked[~is_forced_P]])
    rest = pool.hash_N[pool.is_open() & ~np.isin(pool.hash_N, picked)]
    left = pool.budget - float(plan.attributes.costs(picked).sum())
    can_buy = len(rest) > 0 and bool((plan.attributes.costs(rest) <= left).any())
    if can_buy or needs(plan, picked).any():
        hash_C = np.concatenate([picked, rest[(rest <= np.uint64(plan.route_limit)) | np.isin(rest, plan.wanted_hash)]])
        costs, codes = plan.attributes.costs(hash_C), plan.attributes.codes(hash_C)
        filled = hash_C[fitting(costs, codes, plan, num_forced=int(is_forced_P.sum()))]
        needs_G = needs(plan, filled)
        if (pool.attributes.cost_N is None and len(filled) < pool.budget) or needs_G.any():
            unmet = [f"{q.column}={q.value!r}" for q, need in zip(plan.spec.quotas, needs_G, strict=True) if need]
            raise InputError(
                f"select.quotas: the budget of {pool.budget:g} cannot be spent within all limits: {len(filled)} "
                f"samples fit{', unmet: ' + ', '.join(unmet) if unmet else ''}; relax the quotas or raise the budget"
            )
        if not np.array_equal(np.sort(filled), np.sort(picked)):
            order = np.concatenate([ranked[np.isin(ranked, filled)], filled[~np.isin(filled, ranked)]])
            return _fix(runner, plan, order, plan.num_routed, keep_order=True)
    return batch
