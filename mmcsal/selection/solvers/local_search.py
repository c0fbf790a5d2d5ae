"""The swap search on the graph of a region, in integers: any pick against any candidate until nothing improves."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.objective.constraints import Limits
from mmcsal.selection.solvers.sparse_greedy import Graph, Worth, row_weight

NOBODY, SEVERAL = -1, -2


@dataclass(frozen=True)
class Swapped:
    """What the swap search leaves."""

    pick_P: np.ndarray  # int64, the slots of the picks given, some of them taken over
    runner_up_P: np.ndarray  # int64, the candidate that may replace each pick at the smallest loss; -1 = none
    num_swaps: int
    gain: int


def swap_search(
    graph: Graph, worth: Worth, limits: Limits, pick_P: np.ndarray, order_C: np.ndarray, max_passes: int
) -> Swapped:
    """Replaces picks by candidates while coverage plus alignment grows; the first swap that improves is taken.

    A swap keeps the limits: the new pick has the quota values of the old one and costs no more than what is left, and
    it is no duplicate of another pick.

    Args:
        order_C: candidates in the order in which they are tried (by hash: no order of rows or ids is favoured).
    Source: Schubert and Rousseeuw 2021 (FasterPAM): the loss of every removal is known, so a candidate is judged
        against all picks in one look at its rows.
    """
    pick_P, num_rows = pick_P.astype(np.int64).copy(), len(graph.index_NM)
    first_N, second_N = np.zeros((2, num_rows), np.uint16)
    owner_N, runner_up_P = np.empty(num_rows, np.int32), np.full(len(pick_P), -1, np.int64)
    left = limits.budget - float(np.cumsum(worth.cost_C[pick_P])[-1]) if len(pick_P) else 0.0
    num_swaps, gain = _swap_search(
        graph.index_NM, graph.kernel_NM, graph.start_C, graph.row_E, graph.kernel_E, graph.cover_N, graph.weight_N,
        graph.row_of_C, worth.bonus_C, worth.cost_C, worth.is_forced_C, worth.is_deferred_C, worth.duplicate_kernel,
        limits.code_CQ, left, pick_P, order_C, max_passes, first_N, second_N, owner_N, runner_up_P,
    )  # fmt: skip
    return Swapped(pick_P, runner_up_P, num_swaps, gain)


@njit(cache=True, nogil=True)
def _look(n, index_NM, kernel_NM, slot_C, cover_N, first_N, second_N, owner_N):
    """The two largest kernels of a row to picks (or to a labeled sample), and the slot of the first."""
    first, second, owner = cover_N[n], cover_N[n], -1
    for m in range(index_NM.shape[1]):
        c = index_NM[n, m]
        if c < 0 or kernel_NM[n, m] <= second:
            break
        if slot_C[c] >= 0:
            if owner < 0:
                first, owner = kernel_NM[n, m], slot_C[c]
            else:
                second = kernel_NM[n, m]
                break
    first_N[n], second_N[n], owner_N[n] = first, second, owner


@njit(cache=True, nogil=True)
def _twin(c, index_NM, kernel_NM, row_of_C, slot_C, duplicate_kernel):
    """The slot of the pick that a candidate is a duplicate of, the only one that it may take; or NOBODY, or SEVERAL."""
    row, twin = row_of_C[c], NOBODY
    for m in range(index_NM.shape[1]):
        other = index_NM[row, m]
        if other < 0 or kernel_NM[row, m] < duplicate_kernel:
            break
        if slot_C[other] >= 0:
            if twin >= 0:
                return SEVERAL
            twin = slot_C[other]
    return twin


@njit(cache=True, nogil=True)
def _may_replace(c, old, cost_C, code_CQ, is_forced_C, left):
    if is_forced_C[old] or cost_C[c] > cost_C[old] + max(left, 0.0):
        return False
    for q in range(code_CQ.shape[1]):  # noqa: SIM110 (numba)
        if code_CQ[c, q] != code_CQ[old, q]:
            return False
    return True


@njit(cache=True, nogil=True)
def _cheapest(loss_P, pick_P, is_forced_C):
    best = -1
    for p in range(loss_P.shape[0]):
        if not is_forced_C[pick_P[p]] and (best < 0 or loss_P[p] < loss_P[best]):
            best = p
    return best


@njit(cache=True, nogil=True)
def _note(p, c, change, best_change_P, runner_up_P):
    if change > best_change_P[p] or (change == best_change_P[p] and c < runner_up_P[p]):
        best_change_P[p], runner_up_P[p] = change, c


@njit(cache=True, nogil=True)
def _swap_search(
    index_NM, kernel_NM, start_C, row_E, kernel_E, cover_N, weight_N, row_of_C, bonus_C, cost_C, is_forced_C,
    is_deferred_C, duplicate_kernel, code_CQ, left, pick_P, order_C, max_passes, first_N, second_N, owner_N,
    runner_up_P,
):  # fmt: skip
    num_picks = pick_P.shape[0]
    slot_C = np.full(start_C.shape[0] - 1, -1, np.int64)
    loss_P = np.zeros(num_picks, np.int64)  # what the objective loses without a pick
    for p in range(num_picks):
        slot_C[pick_P[p]] = p
        loss_P[p] = bonus_C[pick_P[p]]
    for n in range(index_NM.shape[0]):
        _look(n, index_NM, kernel_NM, slot_C, cover_N, first_N, second_N, owner_N)
        if owner_N[n] >= 0:
            loss_P[owner_N[n]] += (np.int64(first_N[n]) - np.int64(second_N[n])) * row_weight(weight_N, n)
    is_uniform = True  # any candidate may replace any pick
    for c in range(slot_C.shape[0]):
        if cost_C[c] != cost_C[0] or is_forced_C[c]:
            is_uniform = False
        for q in range(code_CQ.shape[1]):
            if code_CQ[c, q] != code_CQ[0, q]:
                is_uniform = False
    spared_P = np.zeros(num_picks, np.int64)  # of the loss of a removal, what the candidate makes good
    seen_P = np.full(num_picks, -1, np.int64)
    touched_P = np.empty(num_picks, np.int64)
    best_change_P = np.full(num_picks, np.iinfo(np.int64).min, np.int64)
    most_added, most_adding = np.iinfo(np.int64).min, np.int64(-1)
    num_swaps, gain, tried = 0, np.int64(0), np.int64(0)
    cheapest = _cheapest(loss_P, pick_P, is_forced_C)
    num_passes, num_idle, is_last = 0, 0, max_passes == 0
    while True:  # the last pass only notes runners-up: nothing changes any more
        num_before = num_swaps
        for o in range(order_C.shape[0]):
            num_idle += 1
            if num_idle > order_C.shape[0] and not is_last:  # all have been tried since the last swap
                break
            c = order_C[o]
            if slot_C[c] >= 0 or is_deferred_C[c] or cover_N[row_of_C[c]] >= duplicate_kernel:
                continue
            twin = _twin(c, index_NM, kernel_NM, row_of_C, slot_C, duplicate_kernel)
            if twin == SEVERAL:
                continue
            tried += 1
            added, num_touched = bonus_C[c], 0
            for e in range(start_C[c], start_C[c + 1]):
                n = row_E[e]
                if kernel_E[e] <= second_N[n]:
                    continue
                owner, weight = owner_N[n], row_weight(weight_N, n)
                if owner >= 0 and seen_P[owner] != tried:
                    seen_P[owner], spared_P[owner] = tried, 0
                    touched_P[num_touched] = owner
                    num_touched += 1
                if kernel_E[e] > first_N[n]:
                    added += (np.int64(kernel_E[e]) - np.int64(first_N[n])) * weight
                if owner >= 0:
                    within = min(kernel_E[e], first_N[n])
                    spared_P[owner] += (np.int64(within) - np.int64(second_N[n])) * weight
            is_anywhere = is_uniform and twin == NOBODY  # then slots that it does not touch are alike
            if is_last and is_anywhere and (added > most_added or (added == most_added and c < most_adding)):
                most_added, most_adding = added, c
            best, best_loss = -1, np.int64(0)
            if is_anywhere and cheapest >= 0:
                best = cheapest
                best_loss = loss_P[best] - (spared_P[best] if seen_P[best] == tried else 0)
            for t in range(num_touched if is_anywhere else num_picks if twin == NOBODY else 1):
                p = touched_P[t] if is_anywhere else t if twin == NOBODY else twin
                loss = loss_P[p] - (spared_P[p] if seen_P[p] == tried else 0)
                is_best = best < 0 or loss < best_loss or (loss == best_loss and p < best)
                if not is_last and not is_best:
                    continue
                if not is_uniform and not _may_replace(c, pick_P[p], cost_C, code_CQ, is_forced_C, left):
                    continue
                if is_best:
                    best, best_loss = p, loss
                if is_last:
                    _note(p, c, added - loss, best_change_P, runner_up_P)
            if is_last or best < 0 or added <= best_loss:
                continue
            num_swaps += 1
            num_idle = 0
            gain += added - best_loss
            old = pick_P[best]
            left += cost_C[old] - cost_C[c]
            slot_C[old], slot_C[c], pick_P[best] = -1, best, c
            loss_P[best] += bonus_C[c] - bonus_C[old]
            for changed in (old, c):
                for e in range(start_C[changed], start_C[changed + 1]):
                    n = row_E[e]
                    weight = row_weight(weight_N, n)
                    if owner_N[n] >= 0:
                        loss_P[owner_N[n]] -= (np.int64(first_N[n]) - np.int64(second_N[n])) * weight
                    _look(n, index_NM, kernel_NM, slot_C, cover_N, first_N, second_N, owner_N)
                    if owner_N[n] >= 0:
                        loss_P[owner_N[n]] += (np.int64(first_N[n]) - np.int64(second_N[n])) * weight
            cheapest = _cheapest(loss_P, pick_P, is_forced_C)
        if is_last:
            for p in range(num_picks if most_adding >= 0 else 0):
                _note(p, most_adding, most_added - loss_P[p], best_change_P, runner_up_P)
            return num_swaps, gain
        num_passes += 1
        is_last = num_swaps == num_before or num_passes == max_passes
