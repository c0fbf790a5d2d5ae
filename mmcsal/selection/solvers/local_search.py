"""The swap search on a neighbor graph, in integers: any pick against any candidate until nothing improves."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from mmcsal.selection.objective.constraints import Limits
from mmcsal.selection.solvers.neighbor_graph import CandidateTerms, NeighborGraph, row_weight

NOBODY, NOT_POSSIBLE = -1, -2
LEAST = np.iinfo(np.int64).min


@dataclass(frozen=True)
class SwapResult:
    """What the swap search leaves."""

    pick_P: np.ndarray  # int64, the slots of the picks given, some of them taken over
    runner_up_P: np.ndarray  # int64, the candidate that may replace each pick at the smallest loss; -1 = none
    num_swaps: int
    gain: int


class _Rules(NamedTuple):
    """Who may replace whom."""

    terms: CandidateTerms
    code_CQ: np.ndarray  # int32, the quota that a candidate counts for in each column
    is_uniform: bool  # any candidate may replace any pick


class _Slots(NamedTuple):
    """The picks, each in the slot of the one that it took over from; changed in place."""

    pick_P: np.ndarray  # int64, candidates
    slot_C: np.ndarray  # int64, -1 = not picked
    loss_P: np.ndarray  # int64, what the objective loses without a pick
    budget_1: np.ndarray  # float64 [1], what the picks leave of it


class _Closest(NamedTuple):
    """The two largest kernels of each row to picks (or to a labeled sample), and the slot of the first."""

    first_N: np.ndarray  # uint16
    second_N: np.ndarray  # uint16
    owner_N: np.ndarray  # int32, -1 = a labeled sample, or nobody


class _Trial(NamedTuple):
    """What a candidate would change, slot by slot; valid for the slots that `seen_P` marks with its number."""

    spared_P: np.ndarray  # int64, of the loss of a removal, what the candidate makes good
    seen_P: np.ndarray  # int64, number of the trial
    slot_P: np.ndarray  # int64, the slots to look at, at the front


def swap_search(
    graph: NeighborGraph,
    terms: CandidateTerms,
    limits: Limits,
    pick_P: np.ndarray,
    order_C: np.ndarray,
    max_passes: int,
) -> SwapResult:
    """Replaces picks by candidates while coverage plus alignment grows; the first swap that improves is taken.

    A swap keeps the limits: the new pick has the quota values of the old one and costs no more than what is left, and
    it is no duplicate of another pick.

    Args:
        order_C: candidates in the order in which they are tried (by hash: no order of rows or ids is favoured).

    Source:
        Schubert and Rousseeuw 2021 (FasterPAM): the loss of every removal is known, so a candidate is judged against
        all picks in one look at its rows.
    """
    num_picks, num_rows = len(pick_P), len(graph.index_NJ)
    left = limits.budget - float(np.cumsum(terms.cost_C[pick_P])[-1]) if num_picks else 0.0
    slots = _Slots(
        pick_P=pick_P.astype(np.int64).copy(),
        slot_C=np.full(graph.num_candidates, -1, np.int64),
        loss_P=np.zeros(num_picks, np.int64),
        budget_1=np.array([left]),
    )
    first_N, second_N = np.zeros((2, num_rows), np.uint16)
    closest = _Closest(first_N, second_N, np.full(num_rows, -1, np.int32))
    trial = _Trial(np.zeros(num_picks, np.int64), np.full(num_picks, -1, np.int64), np.empty(num_picks, np.int64))
    runner_up_P = np.full(num_picks, -1, np.int64)
    rules = _Rules(terms, limits.code_CQ, _is_uniform(terms, limits.code_CQ))
    _begin(graph, terms, slots, closest)
    num_swaps, gain = _improve(graph, rules, slots, closest, trial, order_C, max_passes)
    trial.seen_P[:] = -1
    _note_runner_ups(graph, rules, slots, closest, trial, order_C, runner_up_P)
    return SwapResult(slots.pick_P, runner_up_P, int(num_swaps), int(gain))


@njit(cache=True, nogil=True)
def _begin(graph, terms, slots, closest):
    """Fills in who is closest to whom, and what each pick is worth."""
    for p in range(slots.pick_P.shape[0]):
        slots.slot_C[slots.pick_P[p]] = p
        slots.loss_P[p] = terms.bonus_C[slots.pick_P[p]]
    _look(np.arange(graph.index_NJ.shape[0]), graph, slots, closest)


@njit(cache=True, nogil=True)
def _look(row_R, graph, slots, closest):
    """Finds the two closest picks of each of these rows, and moves what the row is worth to the first of them."""
    index_NJ, kernel_NJ, cover_N, weight_N = graph.index_NJ, graph.kernel_NJ, graph.cover_N, graph.weight_N
    first_N, second_N, owner_N = closest.first_N, closest.second_N, closest.owner_N
    slot_C, loss_P = slots.slot_C, slots.loss_P
    for r in range(row_R.shape[0]):
        n = row_R[r]
        weight = row_weight(weight_N, n)
        if owner_N[n] >= 0:
            loss_P[owner_N[n]] -= (np.int64(first_N[n]) - np.int64(second_N[n])) * weight
        first, second, owner = cover_N[n], cover_N[n], -1
        for j in range(index_NJ.shape[1]):
            c = index_NJ[n, j]
            if c < 0 or kernel_NJ[n, j] <= second:
                break
            if slot_C[c] >= 0:
                if owner < 0:
                    first, owner = kernel_NJ[n, j], slot_C[c]
                else:
                    second = kernel_NJ[n, j]
                    break
        first_N[n], second_N[n], owner_N[n] = first, second, owner
        if owner >= 0:
            loss_P[owner] += (np.int64(first) - np.int64(second)) * weight


def _is_uniform(terms: CandidateTerms, code_CQ: np.ndarray) -> bool:
    return not (terms.is_forced_C.any() or (terms.cost_C != terms.cost_C[:1]).any() or (code_CQ != code_CQ[:1]).any())


@njit(cache=True, nogil=True)
def _twin(c, graph, terms, slot_C):
    """The slot of the pick that a candidate is a duplicate of, the only one that it may take; NOBODY = any slot."""
    index_NJ, kernel_NJ, duplicate_kernel = graph.index_NJ, graph.kernel_NJ, terms.duplicate_kernel
    row, twin = graph.row_of_C[c], NOBODY
    if slot_C[c] >= 0 or terms.is_deferred_C[c] or graph.cover_N[row] >= duplicate_kernel:
        return NOT_POSSIBLE
    for j in range(index_NJ.shape[1]):
        other = index_NJ[row, j]
        if other < 0 or kernel_NJ[row, j] < duplicate_kernel:
            break
        if slot_C[other] >= 0:
            if twin >= 0:
                return NOT_POSSIBLE  # a duplicate of two picks cannot take the place of both
            twin = slot_C[other]
    return twin


@njit(cache=True, nogil=True)
def _try(c, number, graph, terms, closest, trial):
    """What a candidate adds beside all picks, and how many slots it would make good a part of, noted in `trial`."""
    first_N, second_N, owner_N = closest.first_N, closest.second_N, closest.owner_N
    start_C, row_E, kernel_E, weight_N = graph.start_C, graph.row_E, graph.kernel_E, graph.weight_N
    spared_P, seen_P, slot_P = trial.spared_P, trial.seen_P, trial.slot_P
    added, num_touched = terms.bonus_C[c], 0
    for e in range(start_C[c], start_C[c + 1]):
        n = row_E[e]
        if kernel_E[e] <= second_N[n]:
            continue
        owner, weight = owner_N[n], row_weight(weight_N, n)
        if owner >= 0 and seen_P[owner] != number:
            seen_P[owner], spared_P[owner] = number, 0
            slot_P[num_touched] = owner
            num_touched += 1
        if kernel_E[e] > first_N[n]:
            added += (np.int64(kernel_E[e]) - np.int64(first_N[n])) * weight
        if owner >= 0:
            within = min(kernel_E[e], first_N[n])
            spared_P[owner] += (np.int64(within) - np.int64(second_N[n])) * weight
    return added, num_touched


@njit(cache=True, nogil=True)
def _slots_to_judge(twin, is_uniform, num_touched, slot_P):
    """Puts the slots that a candidate may take in front of `slot_P`; returns how many.

    Where any candidate may take any slot, those that it does not touch are alike, and only the touched ones are listed.
    """
    if twin != NOBODY:
        slot_P[0] = twin
        return 1
    if is_uniform:
        return num_touched
    for p in range(slot_P.shape[0]):
        slot_P[p] = p
    return slot_P.shape[0]


@njit(cache=True, nogil=True)
def _loss(p, number, loss_P, spared_P, seen_P):
    """What the objective loses without a pick, where the candidate of this trial is there."""
    return loss_P[p] - (spared_P[p] if seen_P[p] == number else 0)


@njit(cache=True, nogil=True)
def _may_replace(c, p, rules, slots):
    terms, code_CQ, old = rules.terms, rules.code_CQ, slots.pick_P[p]
    if terms.is_forced_C[old] or terms.cost_C[c] > terms.cost_C[old] + max(slots.budget_1[0], 0.0):
        return False
    for q in range(code_CQ.shape[1]):  # noqa: SIM110 (numba)
        if code_CQ[c, q] != code_CQ[old, q]:
            return False
    return True


@njit(cache=True, nogil=True)
def _cheapest(terms, slots):
    """The slot whose pick the objective loses least without; -1 = all are forced."""
    is_forced_C, pick_P, loss_P = terms.is_forced_C, slots.pick_P, slots.loss_P
    best = -1
    for p in range(loss_P.shape[0]):
        if not is_forced_C[pick_P[p]] and (best < 0 or loss_P[p] < loss_P[best]):
            best = p
    return best


@njit(cache=True, nogil=True)
def _best_slot(c, number, num_judged, any_slot, rules, slots, trial):
    """The slot that a candidate takes at the smallest loss, the first of equals, and that loss; -1 = none."""
    best, best_loss = -1, np.int64(0)
    loss_P, spared_P, seen_P, slot_P = slots.loss_P, trial.spared_P, trial.seen_P, trial.slot_P
    if any_slot >= 0:
        best, best_loss = any_slot, _loss(any_slot, number, loss_P, spared_P, seen_P)
    for i in range(num_judged):
        p = slot_P[i]
        loss = _loss(p, number, loss_P, spared_P, seen_P)
        if best >= 0 and (loss > best_loss or (loss == best_loss and p >= best)):
            continue
        if rules.is_uniform or _may_replace(c, p, rules, slots):
            best, best_loss = p, loss
    return best, best_loss


@njit(cache=True, nogil=True)
def _swap(c, p, graph, terms, slots, closest):
    """Candidate `c` takes slot `p`; the rows of both picks look again."""
    old = slots.pick_P[p]
    slots.budget_1[0] += terms.cost_C[old] - terms.cost_C[c]
    slots.slot_C[old], slots.slot_C[c], slots.pick_P[p] = -1, p, c
    slots.loss_P[p] += terms.bonus_C[c] - terms.bonus_C[old]
    for changed in (old, c):
        _look(graph.row_E[graph.start_C[changed] : graph.start_C[changed + 1]], graph, slots, closest)


@njit(cache=True, nogil=True)
def _improve(graph, rules, slots, closest, trial, order_C, max_passes):
    """Swaps until a pass brings nothing, or as many passes as allowed; returns the number of swaps and their gain."""
    terms, cheapest = rules.terms, _cheapest(rules.terms, slots)
    num_swaps, gain, number, num_idle = 0, np.int64(0), np.int64(0), 0
    for _ in range(max_passes):
        num_before = num_swaps
        for o in range(order_C.shape[0]):
            num_idle += 1
            if num_idle > order_C.shape[0]:  # all have been tried since the last swap
                break
            c = order_C[o]
            twin = _twin(c, graph, terms, slots.slot_C)
            if twin == NOT_POSSIBLE:
                continue
            number += 1
            added, num_touched = _try(c, number, graph, terms, closest, trial)
            num_judged = _slots_to_judge(twin, rules.is_uniform, num_touched, trial.slot_P)
            any_slot = cheapest if rules.is_uniform and twin == NOBODY else -1
            best, loss = _best_slot(c, number, num_judged, any_slot, rules, slots, trial)
            if best >= 0 and added > loss:
                _swap(c, best, graph, terms, slots, closest)
                num_swaps, num_idle, gain = num_swaps + 1, 0, gain + added - loss
                cheapest = _cheapest(terms, slots)
        if num_swaps == num_before:
            break
    return num_swaps, gain


@njit(cache=True, nogil=True)
def _note(p, c, change, change_P, runner_up_P):
    if change > change_P[p] or (change == change_P[p] and c < runner_up_P[p]):
        change_P[p], runner_up_P[p] = change, c


@njit(cache=True, nogil=True)
def _note_runner_ups(graph, rules, slots, closest, trial, order_C, runner_up_P):
    """Of each slot the candidate that would take it at the smallest loss; nothing changes any more."""
    change_P = np.full(runner_up_P.shape[0], LEAST, np.int64)
    most_added, most_adding = LEAST, np.int64(-1)  # of those that may take any slot
    for o in range(order_C.shape[0]):
        c, number = order_C[o], np.int64(o)
        twin = _twin(c, graph, rules.terms, slots.slot_C)
        if twin == NOT_POSSIBLE:
            continue
        added, num_touched = _try(c, number, graph, rules.terms, closest, trial)
        if rules.is_uniform and twin == NOBODY and (added > most_added or (added == most_added and c < most_adding)):
            most_added, most_adding = added, c
        for i in range(_slots_to_judge(twin, rules.is_uniform, num_touched, trial.slot_P)):
            p = trial.slot_P[i]
            if rules.is_uniform or _may_replace(c, p, rules, slots):
                loss = _loss(p, number, slots.loss_P, trial.spared_P, trial.seen_P)
                _note(p, c, added - loss, change_P, runner_up_P)
    for p in range(runner_up_P.shape[0] if most_adding >= 0 else 0):
        _note(p, most_adding, most_added - slots.loss_P[p], change_P, runner_up_P)
