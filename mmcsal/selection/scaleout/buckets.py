"""Buckets: whole cells on their way through the shuffle, and what the cells of a bucket propose.

`route` sends the rows of a shard to their buckets; `propose` picks candidates in each cell of a bucket.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.objective.coverage_parts import largest_kernels, square_blocks, stacked
from mmcsal.selection.objective.density_weights import row_weights
from mmcsal.selection.objective.terms import discounted
from mmcsal.selection.scaleout.cell_tree import assign, fit_tree
from mmcsal.selection.scaleout.plan import SURPLUS, Plan
from mmcsal.selection.scaleout.shard import Rows
from mmcsal.selection.solvers.dense_greedy import NOTHING, Picks, lazy_greedy

MAX_TRAIN_ROWS = 49152
SUB_CELLS = 2**20  # cells that one leaf may be cut into
EXTRA_CANDIDATES = 8  # of a cell: a cell with few rows may still hold several picks


@dataclass(frozen=True)
class RowArrays:
    """Arrays of equal length beside their ids."""

    ids: pa.StringArray

    def take(self, rows: np.ndarray) -> Self:
        """Some of the rows."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "ids"}
        return type(self)(ids=pc.take(self.ids, pa.array(rows, pa.int64())), **arrays)

    def where(self, is_kept_N: np.ndarray) -> Self:
        """The rows for which this holds; no copy where it holds for all."""
        return self if is_kept_N.all() else self.take(np.flatnonzero(is_kept_N))

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """All rows of several parts, in the order given; at least one part."""
        names = [f.name for f in fields(cls) if f.name != "ids"]
        arrays = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
        return cls(ids=pa.concat_arrays([p.ids for p in parts]), **arrays)

    def sorted_by_id(self) -> Self:
        """The same in the order of ids."""
        return self.take(pc.call_function("array_sort_indices", [self.ids]).to_numpy().astype(np.int64))


@dataclass(frozen=True)
class Bucket(RowArrays):
    """Rows of some cells: a piece from one shard, or all of them in the order of their ids."""

    hash_N: np.ndarray  # uint64
    joint_ND: np.ndarray  # int16
    score_N: np.ndarray  # int32, alignment
    cell_N: np.ndarray  # int64
    weight_N: np.ndarray  # int32
    cover_NU: np.ndarray  # uint16, kernel to the nearest labeled sample
    around_NU: np.ndarray  # uint16, coverage to expect from the cells around
    is_labeled_N: np.ndarray  # bool
    is_open_N: np.ndarray  # bool, may be picked

    def solver_weights(self, plan: Plan) -> np.ndarray:
        """int64 [N], or empty where every row counts once."""
        return NOTHING if plan.objective.weight_unit == 1 else self.weight_N.astype(np.int64)


@dataclass(frozen=True)
class Candidates(RowArrays):
    """What the cells of a bucket propose, in the order of cells and of ranks in them."""

    hash_C: np.ndarray
    cell_C: np.ndarray
    rank_C: np.ndarray
    gain_C: np.ndarray  # int64
    key_C: np.ndarray  # float64, gain per cost
    mass_C: np.ndarray


NO_CANDIDATES = Candidates(
    ids=pa.array([], pa.string()),
    hash_C=np.zeros(0, np.uint64),
    cell_C=np.zeros(0, np.int64),
    rank_C=np.zeros(0, np.int64),
    gain_C=np.zeros(0, np.int64),
    key_C=np.zeros(0, np.float64),
    mass_C=np.zeros(0, np.int64),
)


def route(rows: Rows, plan: Plan) -> list[Bucket]:
    """The rows of a shard by bucket."""
    is_taken_N = plan.takes_part(rows.hash_N, plan.scope.route_limit)
    ids, hash_N, joint_ND = rows.ids, rows.hash_N, rows.joint_ND
    if not is_taken_N.all():
        ids, hash_N, joint_ND = ids.filter(pa.array(is_taken_N)), hash_N[is_taken_N], joint_ND[is_taken_N]
    cell_N, around_NU = plan.cells.assign(hash_N, joint_ND, plan.objective.coverage)
    whole = Bucket(
        ids=ids,
        hash_N=hash_N,
        joint_ND=joint_ND,
        score_N=plan.objective.scores_of(hash_N, joint_ND, rows.width_a),
        cell_N=cell_N,
        weight_N=row_weights(hash_N, joint_ND, plan.attributes, plan.tempering).astype(np.int32),
        cover_NU=largest_kernels(joint_ND, plan.labeled_LD, plan.objective.coverage),
        around_NU=around_NU,
        is_labeled_N=np.isin(hash_N, plan.roles.labeled_hash_L),
        is_open_N=plan.roles.is_open(hash_N),
    )
    bucket_N = plan.cells.bucket_of_cell[cell_N]
    return [whole.where(bucket_N == bucket) for bucket in range(plan.cells.num_buckets)]


def join(pieces: list[Bucket]) -> Bucket:
    """All rows of a bucket, sorted by id: the same whatever the pieces were."""
    return Bucket.concat(pieces).sorted_by_id()


def propose(bucket: Bucket, plan: Plan) -> Candidates:
    """Candidates of every cell of a bucket, each by lazy greedy in its cell."""
    taking_part = bucket.where(bucket.hash_N <= np.uint64(plan.scope.solve_limit))
    parts = [NO_CANDIDATES]
    for cell in np.unique(taking_part.cell_N):
        rows = taking_part.where(taking_part.cell_N == cell)
        for number, (sub_rows, around_NU) in enumerate(_split(rows, plan)):
            parts += _propose_in_cell(rows.take(sub_rows), around_NU, int(cell) * SUB_CELLS + number, plan)
    return Candidates.concat(parts)


def rows_of_hash(bucket: Bucket, hash_P: np.ndarray) -> Bucket:
    """The rows of a bucket that have these hashes."""
    return bucket.where(np.isin(bucket.hash_N, hash_P))


def _split(rows: Bucket, plan: Plan) -> list[tuple[np.ndarray, np.ndarray]]:
    """The cells that a leaf's rows are solved in: row numbers and expected coverage of each."""
    limit = plan.cells.max_cell_size if len(rows.hash_N) == plan.scope.num_rows else _limit(plan)
    if len(rows.hash_N) <= limit:
        return [(np.arange(len(rows.hash_N)), rows.around_NU)]
    order = np.argsort(rows.hash_N)
    train_ND = rows.joint_ND[order[:MAX_TRAIN_ROWS]]
    tree = fit_tree(train_ND, num_rows=len(order), cell_size=plan.cells.cell_size)
    leaf_N, around_NU = assign(tree, rows.joint_ND, plan.objective.coverage)
    around_NU = np.maximum(around_NU, rows.around_NU)
    cells = []
    for leaf in np.unique(leaf_N):
        members = order[leaf_N[order] == leaf]  # in the order of their hashes
        num_parts = -(-len(members) // limit)  # what the tree cannot split is cut by hash
        parts = (np.sort(members[part::num_parts]) for part in range(num_parts))
        cells += [(part, around_NU[part]) for part in parts]
    return cells


def _limit(plan: Plan) -> int:
    return min(4 * plan.cells.cell_size, plan.cells.max_cell_size)


def _propose_in_cell(cell: Bucket, around_NU: np.ndarray, number: int, plan: Plan) -> list[Candidates]:
    is_possible_N = cell.is_open_N & ~plan.objective.is_gated(cell.score_N)
    open_C = np.flatnonzero(is_possible_N if is_possible_N.any() else cell.is_open_N)
    used_U = plan.objective.compared_parts
    kernel_NN = square_blocks(cell.joint_ND, [plan.objective.coverage.parts[u] for u in used_U])
    base_N = stacked(np.maximum(around_NU, cell.cover_NU)[:, used_U])
    code_CQ = plan.attributes.codes(cell.hash_N[open_C])
    groups = [open_C]
    if code_CQ.shape[1]:  # samples of a quota compete with each other, so that each can be filled
        _, group_C = np.unique(code_CQ, axis=0, return_inverse=True)
        groups = [open_C[group_C.reshape(-1) == g] for g in range(int(group_C.max(initial=-1)) + 1)]
    return [_propose_among(cell, kernel_NN, base_N, rows, number, plan) for rows in groups if len(rows)]


def _propose_among(cell: Bucket, kernel_NN, base_N, rows_C: np.ndarray, number: int, plan: Plan) -> Candidates:
    discount_N = plan.objective.discount(cell.score_N)
    kernel_CN = kernel_NN if len(rows_C) == len(kernel_NN) else kernel_NN[rows_C]
    cost_C = plan.attributes.costs(cell.hash_N[rows_C])
    picks = lazy_greedy(
        discounted(kernel_CN, None if discount_N is None else discount_N[rows_C]),
        rows_C,
        base_N,
        plan.objective.bonus(cell.score_N[rows_C], plan.scope.num_rows),
        _num_proposed(len(kernel_NN), plan),
        weight_N=cell.solver_weights(plan),
        part_weight_U=plan.objective.coverage.weight_U[plan.objective.compared_parts],
        cost_C=cost_C,
        redundancy_unit=plan.objective.redundancy_unit(plan.scope.num_rows),
        redundancy_C=cell.cover_NU[rows_C, 0],
    )
    return candidates_of(cell, rows_C[picks.candidate_P], picks, cost_C[picks.candidate_P], number)


def _num_proposed(num_rows: int, plan: Plan) -> int:
    if num_rows == plan.scope.num_rows:
        return plan.shortlist_size
    share = SURPLUS * max(plan.limits.num_picks, plan.shortlist_size // SURPLUS)
    return min(plan.shortlist_size, share * num_rows // plan.scope.num_open + EXTRA_CANDIDATES)


def candidates_of(cell: Bucket, rows_C: np.ndarray, picks: Picks, cost_C: np.ndarray, number: int) -> Candidates:
    """Candidates from the picks of a cell, which are `rows_C` of it."""
    return Candidates(
        ids=pc.take(cell.ids, pa.array(rows_C, pa.int64())),
        hash_C=cell.hash_N[rows_C],
        cell_C=np.full(len(rows_C), number, np.int64),
        rank_C=np.arange(len(rows_C)),
        gain_C=picks.gain_P,
        key_C=picks.gain_P / cost_C,
        mass_C=picks.mass_P,
    )
