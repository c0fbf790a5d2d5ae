"""Bags: whole cells on their way through the shuffle, and the greedy that runs in each.

`route` sends the rows of a shard to their bags; `solve` picks candidates in each cell of a bag; `represent` says
which pick stands for each row.
"""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.alignment import Anchors, align_scores, alignment_of
from mmcsal.selection.cells import Tree, assign, fit_tree
from mmcsal.selection.greedy import Picks, lazy_greedy
from mmcsal.selection.kernel import FAR, ONE, Kernel, kernel_of, nearest, square_kernel_block
from mmcsal.selection.quantize import quantize, quantize_joint
from mmcsal.selection.shard import Shard

MAX_TRAIN_ROWS = 49152
SUB_CELLS = 2**20  # cells that one leaf may be cut into


@dataclass(frozen=True)
class Plan:
    """All that a task must know of the whole pool; fitted once and handed to every task."""

    anchors: Anchors
    kernel: Kernel
    tree: Tree
    part_of_leaf_L: np.ndarray  # parts by hash that a leaf is cut into, where the tree could not split it
    first_cell_L: np.ndarray  # number of the first part of a leaf
    bag_of_cell: np.ndarray
    labeled_hash_L: np.ndarray
    labeled_LD: np.ndarray  # quantised joint embeddings of the labeled samples
    solve_limit: int  # rows up to this hash take part in the greedy
    route_limit: int  # rows up to this hash take part in the exchange and in what picks represent
    num_rows: int  # rows that take part in the greedy, W
    num_open: int  # of these, how many may be picked
    num_routed: int
    budget: int
    cell_size: int
    max_cell_size: int
    lambda_align: float  # already scaled by its confidence
    lambda_div: float
    align_threshold: float

    def bonus(self, score_N: np.ndarray, num_rows: int) -> np.ndarray:
        """What alignment adds to the gain of each row, int64 [N], in the unit of gains over `num_rows` rows."""
        share_N = np.minimum(1.0, alignment_of(score_N, self.anchors) / self.align_threshold)
        return np.rint(share_N * (self.lambda_align * ONE * num_rows / self.budget)).astype(np.int64)

    def redundancy_unit(self, num_rows: int) -> int:
        """What a pick loses at a kernel of 1 to an earlier pick, in the unit of gains over `num_rows` rows."""
        return round(self.lambda_div * ONE * num_rows / self.budget)


@dataclass(frozen=True)
class Bag:
    """Rows of some cells: a piece from one shard, or all of them in the order of their ids."""

    ids: pa.StringArray
    hash_N: np.ndarray  # uint64
    joint_ND: np.ndarray  # int16
    score_N: np.ndarray  # int32, alignment
    cell_N: np.ndarray  # int64
    base_N: np.ndarray  # uint16, coverage to expect from labeled samples and from the cells around
    labeled_distance_N: np.ndarray  # int32, square distance to the nearest labeled sample, FAR = there is none
    is_labeled_N: np.ndarray  # bool

    def take(self, rows: np.ndarray) -> "Bag":
        """Some of the rows."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "ids"}
        return Bag(ids=pc.take(self.ids, pa.array(rows, pa.int64())), **arrays)


@dataclass(frozen=True)
class Candidates:
    """What the cells of a bag propose, in the order of cells and of ranks in them."""

    ids: pa.StringArray
    hash_C: np.ndarray
    cell_C: np.ndarray
    rank_C: np.ndarray
    gain_C: np.ndarray
    coverage_C: np.ndarray
    mass_C: np.ndarray


NO_CANDIDATES = Candidates(
    pa.array([], pa.string()), np.zeros(0, np.uint64), *(np.zeros(0, np.int64) for _ in range(5))
)


@dataclass(frozen=True)
class Represented:
    """The picks of a bag, and which of them stands for each row."""

    hash_P: np.ndarray
    ids: pa.StringArray  # of the picks
    joint_PD: np.ndarray
    score_P: np.ndarray
    mass_P: np.ndarray  # rows that no labeled sample is nearer to
    row_ids: pa.StringArray
    row_pick_N: np.ndarray  # place in the picks of this bag, -1 = none
    row_distance_N: np.ndarray  # int32, square distance to that pick
    row_score_N: np.ndarray


def route(shard: Shard, plan: Plan) -> list[Bag]:
    """The shard's rows by bag."""
    rows = shard.below(plan.route_limit)
    hash_N, a_ND, v_ND = shard.hash_N[rows], shard.a_ND[rows], shard.v_ND[rows]
    score_N = align_scores(hash_N, quantize(a_ND), quantize(v_ND), plan.anchors)
    joint_ND = quantize_joint(a_ND, v_ND)
    leaf_N, base_N = assign(plan.tree, joint_ND, plan.kernel)
    part_N = (hash_N % plan.part_of_leaf_L[leaf_N].astype(np.uint64)).astype(np.int64)
    cell_N = plan.first_cell_L[leaf_N] + part_N
    _, labeled_distance_N = nearest(joint_ND, plan.labeled_LD)
    base_N = np.maximum(base_N, labeled_kernel(labeled_distance_N, plan.kernel))
    is_labeled_N = np.isin(hash_N, plan.labeled_hash_L)
    ids = pc.take(shard.ids, pa.array(rows, pa.int64()))
    whole = Bag(ids, hash_N, joint_ND, score_N, cell_N, base_N, labeled_distance_N, is_labeled_N)
    bag_N = plan.bag_of_cell[cell_N]
    return [whole.take(np.flatnonzero(bag_N == bag)) for bag in range(int(plan.bag_of_cell.max()) + 1)]


def join(pieces: list[Bag]) -> Bag:
    """All rows of a bag, sorted by id: the same whatever the pieces were."""
    ids = pa.concat_arrays([p.ids for p in pieces])
    names = [f.name for f in fields(Bag) if f.name != "ids"]
    whole = Bag(ids=ids, **{n: np.concatenate([getattr(p, n) for p in pieces]) for n in names})
    return whole.take(pc.call_function("array_sort_indices", [ids]).to_numpy().astype(np.int64))


def solve(bag: Bag, plan: Plan) -> Candidates:
    """Candidates of every cell of a bag, each by lazy greedy in its cell."""
    taking_part = bag.take(np.flatnonzero(bag.hash_N <= np.uint64(plan.solve_limit)))
    parts = []
    for cell in np.unique(taking_part.cell_N):
        rows = taking_part.take(np.flatnonzero(taking_part.cell_N == cell))
        for number, (sub_rows, base_N) in enumerate(_split(rows, plan)):
            parts.append(_solve_cell(rows.take(sub_rows), base_N, int(cell) * SUB_CELLS + number, plan))
    return concat_candidates(parts)


def concat_candidates(parts: list[Candidates]) -> Candidates:
    """All candidates of several cells or bags, in the order given."""
    names = [f.name for f in fields(Candidates) if f.name != "ids"]
    parts = parts or [NO_CANDIDATES]
    arrays = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    return Candidates(ids=pa.concat_arrays([p.ids for p in parts]), **arrays)


def represent(bag: Bag, pick_hash_P: np.ndarray, with_rows: bool) -> Represented:
    """Which of the picks in this bag is nearest to each of its rows; `with_rows` also returns the rows' answers."""
    pick_rows = np.flatnonzero(np.isin(bag.hash_N, pick_hash_P))
    row_pick_N, distance_N = nearest(bag.joint_ND, bag.joint_ND[pick_rows])
    row_pick_N[pick_rows] = np.arange(len(pick_rows))  # of several equal rows, each pick stands for itself
    mine_N = (row_pick_N >= 0) & (distance_N <= bag.labeled_distance_N) & ~bag.is_labeled_N
    mass_P = np.bincount(row_pick_N[mine_N], minlength=len(pick_rows))
    kept = slice(None) if with_rows else slice(0)
    picks = bag.take(pick_rows)
    return Represented(
        picks.hash_N, picks.ids, picks.joint_ND, picks.score_N, mass_P,
        bag.ids if with_rows else bag.ids[:0], row_pick_N[kept], distance_N[kept], bag.score_N[kept],
    )  # fmt: skip


def labeled_kernel(distance_N: np.ndarray, kernel: Kernel) -> np.ndarray:
    """K of the nearest labeled sample by its square distance, uint16 [N]; 0 where there is none."""
    return np.where(distance_N == FAR, 0, kernel_of(distance_N, kernel)).astype(np.uint16)


def _split(rows: Bag, plan: Plan) -> list[tuple[np.ndarray, np.ndarray]]:
    """The cells that a leaf's rows are solved in: row numbers and base coverage of each."""
    limit = plan.max_cell_size if len(rows.hash_N) == plan.num_rows else _limit(plan)
    if len(rows.hash_N) <= limit:
        return [(np.arange(len(rows.hash_N)), rows.base_N)]
    order = np.argsort(rows.hash_N)
    train_ND = rows.joint_ND[order[:MAX_TRAIN_ROWS]]
    leaf_N, base_N = assign(
        fit_tree(train_ND, num_rows=len(order), cell_size=plan.cell_size), rows.joint_ND, plan.kernel
    )
    base_N = np.maximum(base_N, rows.base_N)
    cells = []
    for leaf in np.unique(leaf_N):
        members = order[leaf_N[order] == leaf]  # in the order of their hashes
        num_parts = -(-len(members) // limit)  # what the tree cannot split is cut by hash
        parts = (np.sort(members[part::num_parts]) for part in range(num_parts))
        cells += [(part, base_N[part]) for part in parts]
    return cells


def _limit(plan: Plan) -> int:
    return min(4 * plan.cell_size, plan.max_cell_size)


def _solve_cell(cell: Bag, base_N: np.ndarray, number: int, plan: Plan) -> Candidates:
    open_C = np.flatnonzero(~cell.is_labeled_N)
    max_picks = plan.budget
    if len(base_N) < plan.num_rows:
        max_picks = min(plan.budget, 4 * plan.budget * len(base_N) // plan.num_open + 8)
    kernel_CN = square_kernel_block(cell.joint_ND, plan.kernel)
    if len(open_C) < len(base_N):
        kernel_CN = kernel_CN[open_C]
    picks = lazy_greedy(
        kernel_CN,
        open_C,
        base_N,
        plan.bonus(cell.score_N[open_C], plan.num_rows),
        max_picks,
        redundancy_unit=plan.redundancy_unit(plan.num_rows),
        redundancy_C=labeled_kernel(cell.labeled_distance_N[open_C], plan.kernel),
    )
    return candidates_of(cell, open_C[picks.candidate_P], picks, number)


def candidates_of(cell: Bag, rows: np.ndarray, picks: Picks, number: int) -> Candidates:
    """Candidates from the picks of a cell, which are `rows` of it."""
    return Candidates(
        ids=pc.take(cell.ids, pa.array(rows, pa.int64())),
        hash_C=cell.hash_N[rows],
        cell_C=np.full(len(rows), number, np.int64),
        rank_C=np.arange(len(rows)),
        gain_C=picks.gain_P,
        coverage_C=picks.coverage_P,
        mass_C=picks.mass_P,
    )
