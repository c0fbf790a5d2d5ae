"""Links: which candidates of the shortlist lie closest to each row, across the borders of cells and bags."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.bag import Bag, Columns
from mmcsal.selection.graph import keep_closest
from mmcsal.selection.kernel import kernel_block, square_distances
from mmcsal.selection.plan import Plan, discounted
from mmcsal.selection.quantize import quantize

NUM_LINKS = 16  # candidates that a row keeps, where a third of them is picked
MIN_COMPARED, MAX_COMPARED = 512, 1024  # candidates that the rows of a cell are compared with
FULL_LINKS = 2**22  # rows times candidates up to here are kept whole
INSERT_UP_TO = 64  # links of a row that are kept in order by insertion; more are sorted
CHUNK_ROWS = 2048


@dataclass(frozen=True)
class Shortlist(Columns):
    """Candidates of the whole pool, in the order of their ids."""

    hash_C: np.ndarray
    joint_CD: np.ndarray
    score_C: np.ndarray


@dataclass(frozen=True)
class Links(Columns):
    """Rows of a bag, and the candidates that each of them is closest to."""

    hash_N: np.ndarray
    score_N: np.ndarray
    weight_N: np.ndarray
    cover_N: np.ndarray
    is_labeled_N: np.ndarray
    index_NM: np.ndarray  # int32, places in the shortlist, the closest first; -1 = none
    kernel_NM: np.ndarray  # uint16


def num_links(plan: Plan, num_candidates: int, num_rows: int) -> int:
    """How many candidates a row keeps: enough that several of them are picked."""
    wanted = -(-NUM_LINKS * num_candidates // (3 * plan.num_picks))
    return min(max(NUM_LINKS, wanted, FULL_LINKS // num_rows), num_candidates)


def num_compared(plan: Plan, num_candidates: int, kept: int) -> int:
    """How many candidates the rows of a cell are compared with."""
    compared = MIN_COMPARED if plan.num_rows >= 50 * plan.num_picks else MAX_COMPARED
    return min(max(compared, 2 * kept), num_candidates)


def link(bag: Bag, shortlist: Shortlist, plan: Plan, limit: int, num_rows: int) -> Links:
    """The closest candidates of each row of a bag whose hash is at most `limit`.

    The rows of a cell are compared with the candidates nearest to the cell's centre, whichever cell proposed them.
    """
    rows = bag.take(np.flatnonzero(bag.hash_N <= np.uint64(limit)))
    kept = num_links(plan, len(shortlist.hash_C), num_rows)
    compared = num_compared(plan, len(shortlist.hash_C), kept)
    index_NM = np.empty((len(rows.hash_N), kept), np.int32)
    kernel_NM = np.empty((len(rows.hash_N), kept), np.uint16)
    discount_C = plan.discount(shortlist.score_C)
    for cell in np.unique(rows.cell_N):
        members = np.flatnonzero(rows.cell_N == cell)
        near = _nearest_candidates(rows.joint_ND[members], rows.hash_N[members], shortlist, compared)
        for start in range(0, len(members), CHUNK_ROWS):
            chunk = members[start : start + CHUNK_ROWS]
            kernel_AC = kernel_block(rows.joint_ND[chunk], shortlist.joint_CD[near], plan.kernel)
            if discount_C is not None:
                kernel_AC = discounted(kernel_AC.T, discount_C[near]).T
            index_NM[chunk], kernel_NM[chunk] = _closest(kernel_AC, near, kept)
    return Links(
        ids=rows.ids,
        hash_N=rows.hash_N,
        score_N=rows.score_N,
        weight_N=rows.weight_N,
        cover_N=rows.cover_N,
        is_labeled_N=rows.is_labeled_N,
        index_NM=index_NM,
        kernel_NM=kernel_NM,
    )


def shortlist_of(rows: Bag) -> Shortlist:
    """The shortlist of these rows, sorted by id."""
    return Shortlist(rows.ids, rows.hash_N, rows.joint_ND, rows.score_N).sorted_by_id()


def places_of(ids: pa.StringArray, among: pa.StringArray) -> np.ndarray:
    """Where `ids` lie in `among`, int64; -1 = nowhere."""
    found = pc.call_function("index_in", [ids], pc.SetLookupOptions(among))
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _nearest_candidates(joint_ND, hash_N, shortlist: Shortlist, compared: int) -> np.ndarray:
    """Places of the candidates nearest to the centre of a cell, and of those that lie in it, rising."""
    if compared == len(shortlist.hash_C):
        return np.arange(compared)
    centre_1D = quantize(joint_ND.sum(axis=0, dtype=np.int64).astype(np.float64)[None] + 0.5)
    distance_C = square_distances(shortlist.joint_CD, centre_1D)[:, 0].astype(np.int64)
    distance_C[np.isin(shortlist.hash_C, hash_N)] = -1
    return np.sort(np.argsort(distance_C, kind="stable")[: max(compared, int((distance_C < 0).sum()))])


def _closest(kernel_AC: np.ndarray, place_C: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    if kept <= INSERT_UP_TO:
        index_AM = np.empty((len(kernel_AC), kept), np.int32)
        kernel_AM = np.empty((len(kernel_AC), kept), np.uint16)
        keep_closest(kernel_AC, place_C.astype(np.int32), index_AM, kernel_AM)
        return index_AM, kernel_AM
    order_AM = np.argsort(np.iinfo(np.uint16).max - kernel_AC, axis=1, kind="stable")[:, :kept]
    return place_C[order_AM].astype(np.int32), np.take_along_axis(kernel_AC, order_AM, axis=1)
