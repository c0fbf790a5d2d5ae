"""Neighbors: which candidates of the shortlist lie closest to each row, across the borders of cells and buckets."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from mmcsal.contracts.ids import places_of_hashes
from mmcsal.selection.numerics.kernel import kernel_of, square_distances
from mmcsal.selection.numerics.quantize import quantize, similarities, square_norms
from mmcsal.selection.numerics.topk import cutoff
from mmcsal.selection.objective.terms import discounted
from mmcsal.selection.scaleout.buckets import Bucket, RowArrays
from mmcsal.selection.scaleout.plan import Plan

NUM_NEIGHBORS = 16  # candidates that a row keeps, where a third of them is picked
MANY_ROWS_PER_PICK = 50  # from here on, fewer comparisons lose nothing
MIN_COMPARED, MAX_COMPARED = 256, 2048  # candidates that the rows of a cell are compared with
MAX_COMPLETE_PAIRS = 2**22  # rows times candidates up to here are kept whole
MIN_NEIGHBOR_PAIRS = 2**21  # beyond that, rows of small pools keep so many together
INSERT_UP_TO = 64  # neighbors of a row that are put in order by insertion; more are sorted
SPARE = 8  # candidates beyond those kept that may pass the cut
ROUNDING = np.float32(4)  # more than twice what the value behind the cut may be off in single precision
CHUNK_ROWS = 512  # whose similarities stay in the cache


@dataclass(frozen=True)
class Shortlist(RowArrays):
    """Candidates of the whole pool, in the order of their ids."""

    hash_C: np.ndarray
    joint_CD: np.ndarray
    score_C: np.ndarray


@dataclass(frozen=True)
class Neighbors(RowArrays):
    """Rows of a bucket, and the candidates that each of them is closest to."""

    hash_N: np.ndarray
    score_N: np.ndarray
    weight_N: np.ndarray
    cover_NU: np.ndarray
    is_labeled_N: np.ndarray
    index_NUJ: np.ndarray  # int32, places in the shortlist, the closest first; -1 = none
    kernel_NUJ: np.ndarray  # uint16


def num_neighbors(plan: Plan, num_candidates: int, num_rows: int) -> int:
    """How many candidates a row keeps: enough that several of them are picked."""
    if num_rows * num_candidates <= MAX_COMPLETE_PAIRS:
        return num_candidates
    wanted = -(-NUM_NEIGHBORS * num_candidates // (3 * plan.limits.num_picks))
    return min(max(NUM_NEIGHBORS, wanted, MIN_NEIGHBOR_PAIRS // num_rows), num_candidates)


def num_compared(plan: Plan, kept: int) -> int:
    """How many candidates the rows of a cell are compared with, where there are so many."""
    compared = MIN_COMPARED if plan.scope.num_rows >= MANY_ROWS_PER_PICK * plan.limits.num_picks else MAX_COMPARED
    return max(compared, 4 * kept)


def find_neighbors(bucket: Bucket, shortlist: Shortlist, plan: Plan, limit: int, num_rows: int) -> Neighbors:
    """The closest candidates of each row of a bucket whose hash is at most `limit`, or that must be in the batch.

    The rows of a cell are compared with the candidates nearest to the cell's centre, whichever cell proposed them.
    """
    rows = bucket.where(plan.takes_part(bucket.hash_N, limit))
    kept = num_neighbors(plan, len(shortlist.hash_C), num_rows)
    compared = num_compared(plan, kept)
    place_N = places_of_hashes(rows.hash_N, shortlist.hash_C)
    index_NUJ, kernel_NUJ = closest_in_cells(rows.joint_ND, rows.cell_N, place_N, shortlist, plan, kept, compared)
    return Neighbors(
        ids=rows.ids,
        hash_N=rows.hash_N,
        score_N=rows.score_N,
        weight_N=rows.weight_N,
        cover_NU=rows.cover_NU,
        is_labeled_N=rows.is_labeled_N,
        index_NUJ=index_NUJ,
        kernel_NUJ=kernel_NUJ,
    )


def closest_in_cells(
    joint_ND: np.ndarray, cell_N: np.ndarray, place_N: np.ndarray, shortlist: Shortlist, plan: Plan, kept: int,
    compared: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The candidates that each row is closest to by each part, int32 [N, U, M], and what of the kernel counts, uint16.

    The rows of a cell are compared with the candidates nearest to the cell's centre, whichever cell proposed them. By a
    part that counts nothing, candidates alone look, to know which of them are duplicates.

    Args:
        place_N: where each row stands in the shortlist; -1 = it is no candidate.
        kept: at most so many, and never more than there are candidates; M = kept.
        compared: see `kept`.
    """
    num_candidates = len(shortlist.hash_C)
    kept, compared = min(kept, num_candidates), min(max(compared, kept), num_candidates)
    shape = (len(joint_ND), len(plan.objective.coverage.parts), kept)
    index_NUJ, kernel_NUJ = np.full(shape, -1, np.int32), np.zeros(shape, np.uint16)
    if not num_candidates:
        return index_NUJ, kernel_NUJ
    cells = [np.flatnonzero(cell_N == cell) for cell in np.unique(cell_N)]
    for u, part in enumerate(plan.objective.coverage.parts):
        part_ND, part_CD = part.of(joint_ND), part.of(shortlist.joint_CD)
        distances = _distances_to_centres([part_ND[members] for members in cells], part_CD, compared)
        for members, distance_C in zip(cells, distances, strict=True):
            near = _nearest_candidates(distance_C, place_N[members], compared)
            near_CD = part_CD[near].astype(np.float32)
            looking = members if part.weight else members[place_N[members] >= 0]
            for start in range(0, len(looking), CHUNK_ROWS):
                chunk = looking[start : start + CHUNK_ROWS]
                index_AJ, distance_AJ = closest(part_ND[chunk], near_CD, kept)
                index_NUJ[chunk, u], kernel_NUJ[chunk, u] = near[index_AJ], kernel_of(distance_AJ, part.kernel)
    discount_C = plan.objective.discount(shortlist.score_C)
    return (index_NUJ, kernel_NUJ) if discount_C is None else _discounted(index_NUJ, kernel_NUJ, discount_C)


def shortlist_of(rows: Bucket) -> Shortlist:
    """The shortlist of these rows, sorted by id."""
    return Shortlist(rows.ids, rows.hash_N, rows.joint_ND, rows.score_N).sorted_by_id()


def of_rows_and_parts(value_NUJ: np.ndarray) -> np.ndarray:
    """Rows of a graph, one for every row and part of the coverage: [N * U, M]."""
    num_rows, num_parts, num_neighbors = value_NUJ.shape
    return value_NUJ.reshape(num_rows * num_parts, num_neighbors)


def places_of(ids: pa.StringArray, among: pa.StringArray) -> np.ndarray:
    """Where `ids` lie in `among`, int64; -1 = nowhere."""
    found = pc.call_function("index_in", [ids], pc.SetLookupOptions(among))
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _distances_to_centres(cells: list[np.ndarray], rows_CD: np.ndarray, compared: int) -> np.ndarray:
    """Square distances of all candidates to the centre of each cell, int64; zeros where all are compared anyway."""
    if not cells or compared == len(rows_CD):
        return np.zeros((len(cells), len(rows_CD)), np.int64)
    sums = [rows_ND.sum(axis=0, dtype=np.int64).astype(np.float64) + 0.5 for rows_ND in cells]
    return square_distances(quantize(np.stack(sums)), rows_CD).astype(np.int64)


def _nearest_candidates(distance_C: np.ndarray, place_N: np.ndarray, compared: int) -> np.ndarray:
    """Places of the candidates nearest to the centre of a cell, and of those that lie in it, rising."""
    if compared == len(distance_C):
        return np.arange(compared)
    distance_C[place_N[place_N >= 0]] = -1
    near = np.argpartition(distance_C * len(distance_C) + np.arange(len(distance_C)), compared - 1)[:compared]
    return np.union1d(near, place_N[place_N >= 0])


def closest(x_AD: np.ndarray, y_BD: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """The `kept` rows of `y` that each row of `x` is closest to: places int64 and square distances int32 [A, M].

    The closest first, of equals the first of them.
    """
    sims_AB = similarities(x_AD, y_BD)
    if kept > INSERT_UP_TO:
        distance_AB = square_norms(x_AD)[:, None] + square_norms(y_BD)[None, :] - 2 * sims_AB.astype(np.int32)
        place_AJ = np.argsort(distance_AB, axis=1, kind="stable")[:, :kept]
        return place_AJ, np.take_along_axis(distance_AB, place_AJ, axis=1)
    place_AJ, distance_AJ = np.empty((len(x_AD), kept), np.int64), np.empty((len(x_AD), kept), np.int32)
    _closest(sims_AB, square_norms(x_AD), square_norms(y_BD), place_AJ, distance_AJ)
    return place_AJ, distance_AJ


def _discounted(index_NUJ: np.ndarray, kernel_NUJ: np.ndarray, discount_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neighbors by what of the kernel counts, the largest first."""
    kernel_NUJ = discounted(kernel_NUJ.reshape(-1), discount_C[index_NUJ.reshape(-1)]).reshape(kernel_NUJ.shape)
    order_NUJ = np.argsort(np.iinfo(np.uint16).max - kernel_NUJ, axis=-1, kind="stable")
    return np.take_along_axis(index_NUJ, order_NUJ, axis=-1), np.take_along_axis(kernel_NUJ, order_NUJ, axis=-1)


@njit(cache=True, nogil=True)
def _closest(sims_AB, x_norms_A, y_norms_B, place_AJ, distance_AJ):
    """Looks at no more than what may be among the closest, found by a cut in single precision."""
    num_kept, num_all = place_AJ.shape[1], sims_AB.shape[1]
    value_B, cut = np.empty(num_all, np.float32), np.float32(0)
    offset_B = (y_norms_B - y_norms_B.min()).astype(np.float32) * np.float32(0.25)
    for a in range(sims_AB.shape[0]):
        for b in range(num_all):
            value_B[b] = sims_AB[a, b] * np.float32(0.5) - offset_B[b]  # falls as the distance rises
        cut = cutoff(value_B, num_kept, num_kept + SPARE, cut)
        filled = 0
        for b in range(num_all):
            if value_B[b] < cut - ROUNDING:
                continue
            distance = x_norms_A[a] + y_norms_B[b] - 2 * np.int32(sims_AB[a, b])
            if filled == num_kept and distance >= distance_AJ[a, num_kept - 1]:
                continue
            m = min(filled, num_kept - 1)
            filled = min(filled + 1, num_kept)
            while m > 0 and distance_AJ[a, m - 1] > distance:
                distance_AJ[a, m], place_AJ[a, m] = distance_AJ[a, m - 1], place_AJ[a, m - 1]
                m -= 1
            distance_AJ[a, m], place_AJ[a, m] = distance, b
