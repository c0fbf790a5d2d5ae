"""Selection as steps over shards and bags; the runner decides where they run, never what they return.

Steps are pure functions of a shard or a bag and of arguments that every task gets. Between them only hashes, samples,
integers and candidates come back here. So the result is bit-identical in one process and on a cluster.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection.alignment import confidence, fit_anchors
from mmcsal.selection.bag import MAX_TRAIN_ROWS, Bag, Candidates, Plan, concat_candidates, join, represent, route, solve
from mmcsal.selection.bandwidth import merge_bandwidth, nearest_references, neighbour_rank, sample_sizes
from mmcsal.selection.cells import Tree, fit_tree
from mmcsal.selection.exchange import exchange
from mmcsal.selection.kernel import make_kernel
from mmcsal.selection.merge import best
from mmcsal.selection.quantize import quantize_joint
from mmcsal.selection.result import Outcome, Selection, make_selection
from mmcsal.selection.shard import NUM_NAMED, Sample, Shard, Survey, gather, ids_of, merge_samples, survey
from mmcsal.selection.spec import SelectSpec

MAX_BAG_ROWS = 49152
EXCHANGE_ROWS = 8  # times the rows that the greedy saw
MAX_ROWS_EXPLAINED = 2**21  # pools up to here keep which pick stands for each row


class Runner(Protocol):
    """Where steps run: in this process, or as tasks on a cluster."""

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(shard, *common)` of every shard, in the order of shards."""
        ...

    def shuffle(self, step: Callable[..., list[Bag]], num_bags: int, *common: Any) -> None:
        """Runs `step(shard, *common)` -> a piece for each bag, and keeps the pieces where `over_bags` finds them."""
        ...

    def over_bags(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(bag, *common)` of every bag that holds rows, joined and sorted by id; in the order of bags."""
        ...


class LocalRunner:
    """Runs every step in this process, one after the other."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._bags: list[Bag] = []

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return [step(shard, *common) for shard in self._shards]

    def shuffle(self, step: Callable[..., list[Bag]], num_bags: int, *common: Any) -> None:
        """See `Runner`."""
        pieces = [step(shard, *common) for shard in self._shards]
        self._bags = [join([p[bag] for p in pieces]) for bag in range(num_bags)]

    def over_bags(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return [step(bag, *common) for bag in self._bags]


@dataclass(frozen=True)
class Pool:
    """What the survey found: the hashes of all rows, checked."""

    hash_N: np.ndarray  # uint64, rising
    labeled_hash_L: np.ndarray
    budget: int

    def limit(self, num_rows: int) -> int:
        """The hash up to which `num_rows` rows lie."""
        return int(self.hash_N[min(num_rows, len(self.hash_N)) - 1])

    def num_open(self, limit: int) -> int:
        """Rows up to a hash that may be picked."""
        num_labeled = int((self.labeled_hash_L <= np.uint64(limit)).sum())
        return int(np.searchsorted(self.hash_N, np.uint64(limit), side="right")) - num_labeled


def select(
    runner: Runner, spec: SelectSpec, *, labeled_ids: Sequence[str], labeled_hash_L: np.ndarray, seed: int
) -> Selection:
    """Selects from the shards that `runner` holds.

    Raises: TableError: rows that break the contract. InputError: a budget or labeled ids that the pool cannot meet.
    """
    pool = _pool(runner, runner.over_shards(survey), spec, labeled_ids, labeled_hash_L)
    num_covering = pool.budget + len(labeled_hash_L)
    num_rows = num_routed = len(pool.hash_N)
    if num_rows > spec.max_rows_per_pick * num_covering:
        num_rows = max(spec.max_rows_per_pick // 2, 1) * num_covering
        num_routed = min(EXCHANGE_ROWS * num_rows, num_routed)
    anchor_limit, sample_limit = pool.limit(spec.num_anchors), pool.limit(MAX_TRAIN_ROWS)
    sample = merge_samples(runner.over_shards(gather, anchor_limit, sample_limit, pool.labeled_hash_L))
    bandwidth = _bandwidth(runner, pool, sample, num_rows, num_covering)
    plan = _plan(spec, pool, sample, bandwidth, num_rows, num_routed)
    runner.shuffle(route, int(plan.bag_of_cell.max()) + 1, plan)
    candidates = concat_candidates(runner.over_bags(solve, plan))
    proposed, num_scored = candidates, num_rows
    picked = best(candidates, pool.budget)
    if num_routed > num_rows:
        candidates, num_scored = _exchanged(runner, candidates, picked, plan), num_routed
        picked = best(candidates, pool.budget)
    with_rows = len(pool.hash_N) <= MAX_ROWS_EXPLAINED
    represented = runner.over_bags(represent, np.sort(candidates.hash_C[picked]), with_rows)
    return make_selection(
        Outcome(spec, plan, pool.hash_N, sample, proposed, candidates, picked, num_scored, represented, seed),
        labeled_ids,
    )


def _exchanged(runner: Runner, candidates: Candidates, picked: np.ndarray, plan: Plan) -> Candidates:
    return concat_candidates(runner.over_bags(exchange, np.sort(candidates.hash_C[picked]), plan))


def _pool(
    runner: Runner, surveys: list[Survey], spec: SelectSpec, labeled_ids: Sequence[str], labeled_hash_L: np.ndarray
) -> Pool:
    _check_widths(surveys)
    hash_N = np.sort(np.concatenate([s.hash_N for s in surveys])) if surveys else np.zeros(0, np.uint64)
    repeated = np.unique(hash_N[1:][hash_N[1:] == hash_N[:-1]])
    if len(repeated):
        first = sorted({i for ids in runner.over_shards(ids_of, repeated[:NUM_NAMED]) for i in ids})
        raise TableError(
            f"embeddings: {len(repeated)} sample_ids occur in more than one place, first {first}; ids must be unique"
        )
    _check_labeled(hash_N, labeled_ids, labeled_hash_L)
    return Pool(hash_N, np.sort(labeled_hash_L), _budget(spec, len(hash_N), len(labeled_hash_L)))


def _check_widths(surveys: list[Survey]) -> None:
    first: dict[tuple[int, int], str] = {}
    for s in surveys:
        first.setdefault(s.widths, s.name)
    if len(first) > 1:
        found = ", ".join(f"{widths[0]} and {widths[1]} in {name}" for widths, name in first.items())
        raise TableError(f"embeddings: widths differ between files: {found}; all must come from one model")


def _check_labeled(hash_N: np.ndarray, labeled_ids: Sequence[str], labeled_hash_L: np.ndarray) -> None:
    unknown = np.flatnonzero(~np.isin(labeled_hash_L, hash_N))
    if len(unknown):
        first = [labeled_ids[i] for i in unknown[:NUM_NAMED]]
        raise InputError(
            f"labeled: {len(unknown)} of {len(labeled_ids)} ids are not in the pool of {len(hash_N)} rows, "
            f"first {first}; pass the embeddings of the labeled samples too, or leave these ids out"
        )


def _budget(spec: SelectSpec, num_pool: int, num_labeled: int) -> int:
    num_open = num_pool - num_labeled
    budget = spec.budget if isinstance(spec.budget, int) else max(1, round(spec.budget * num_open))
    if budget > num_open:
        raise InputError(
            f"budget: {budget} samples, but only {num_open} of {num_pool} rows may be selected "
            f"({num_labeled} are labeled); lower the budget"
        )
    return budget


def _bandwidth(runner: Runner, pool: Pool, sample: Sample, num_rows: int, num_covering: int) -> int:
    rank = neighbour_rank(num_rows, num_covering)
    num_queries, num_references, reference_rank = sample_sizes(num_rows, rank)
    queries = sample.hash_N <= np.uint64(pool.limit(num_queries))
    found = runner.over_shards(
        _nearest_references,
        pool.limit(num_references),
        sample.joint_ND[queries],
        sample.hash_N[queries],
        reference_rank,
    )
    return merge_bandwidth(found, reference_rank)


def _nearest_references(shard: Shard, limit: int, query_QD: np.ndarray, query_hash_Q: np.ndarray, rank: int):
    rows = shard.below(limit)
    joint_ND = quantize_joint(shard.a_ND[rows], shard.v_ND[rows])
    return nearest_references(joint_ND, shard.hash_N[rows], query_QD, query_hash_Q, rank)


def _plan(spec: SelectSpec, pool: Pool, sample: Sample, bandwidth: int, num_rows: int, num_routed: int) -> Plan:
    anchors = fit_anchors(sample.anchor_hash_M, sample.anchor_a_MD, sample.anchor_v_MD)
    trust = confidence(anchors.separation) if spec.scale_by_confidence else 1.0
    max_cell = spec.max_cell_size
    cell_size = int(np.clip(4 * num_rows // pool.budget, max_cell // 8, max_cell // 2))
    tree = _tree(pool, sample, num_rows, num_rows if num_rows <= max_cell else cell_size)
    parts_L, first_cell_L, bag_of_cell = _bags(tree, num_routed / num_rows)
    is_labeled = np.isin(sample.hash_N, pool.labeled_hash_L)
    solve_limit = pool.limit(num_rows)
    return Plan(
        anchors=anchors,
        kernel=make_kernel(bandwidth),
        tree=tree,
        part_of_leaf_L=parts_L,
        first_cell_L=first_cell_L,
        bag_of_cell=bag_of_cell,
        labeled_hash_L=pool.labeled_hash_L,
        labeled_LD=sample.joint_ND[is_labeled],
        solve_limit=solve_limit,
        route_limit=pool.limit(num_routed),
        num_rows=num_rows,
        num_open=pool.num_open(solve_limit),
        num_routed=num_routed,
        budget=pool.budget,
        cell_size=cell_size,
        max_cell_size=max_cell,
        lambda_align=spec.lambda_align * trust,
        lambda_div=spec.lambda_div,
        align_threshold=spec.align_threshold,
    )


def _tree(pool: Pool, sample: Sample, num_rows: int, cell_size: int) -> Tree:
    train = sample.hash_N <= np.uint64(pool.limit(min(num_rows, MAX_TRAIN_ROWS)))
    return fit_tree(sample.joint_ND[train], num_rows=num_rows, cell_size=cell_size)


def _bags(tree: Tree, growth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of each leaf, the first cell of each leaf, and the bag of each cell: neighbours in the tree share bags."""
    size_L = tree.leaf_size_L * growth
    parts_L = np.maximum(1, np.ceil(size_L / (1.25 * MAX_BAG_ROWS))).astype(np.int64)
    first_cell_L = np.cumsum(parts_L) - parts_L
    bags, filled = [], np.inf
    for size in np.repeat(size_L / parts_L, parts_L):
        is_new = filled + size > MAX_BAG_ROWS
        bags.append((bags[-1] if bags else -1) + int(is_new))
        filled = size + (0.0 if is_new else filled)
    return parts_L, first_cell_L, np.array(bags, np.int64)
