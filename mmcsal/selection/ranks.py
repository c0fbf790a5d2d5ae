"""The first ranks: picks whose every prefix is a good batch, found by a greedy pass over all picks.

A row of a region keeps the few candidates that it is closest to: enough to order the later ranks, too few to say what
the first ones cover. These are judged by whole columns of the kernel: over all rows of pools up to 49 thousand, else
over those of lowest hash.
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.greedy import lazy_greedy
from mmcsal.selection.kernel import Kernel, kernel_block
from mmcsal.selection.objective import closest_before

MAX_PAIRS = 2**26  # of picks and rows up to which all rows are looked at
MAX_WHOLE = 49152
FIRST_SHARE = 4  # a quarter of the picks come first
TARGETS_PER_FIRST, MIN_TARGETS, MAX_TARGETS = 16, 4096, 16384


@dataclass(frozen=True)
class Targets:
    """Rows of the pool that ranks are judged by."""

    joint_RD: np.ndarray  # quantised, int16
    cover_R: np.ndarray  # uint16, kernel to the nearest labeled sample
    weight_R: np.ndarray  # int64; empty = every row counts once


@dataclass(frozen=True)
class Ranked:
    """The picks to be ranked, in the order of their ids."""

    joint_PD: np.ndarray
    bonus_P: np.ndarray  # int64, in the unit of gains over the targets
    cost_P: np.ndarray
    cover_P: np.ndarray  # uint16, kernel to the nearest labeled sample
    is_deferred_P: np.ndarray  # bool: none of the first


def num_first(num_picks: int) -> int:
    """How many ranks are judged by targets."""
    return -(-num_picks // FIRST_SHARE)


def num_targets(num_picks: int, num_rows: int) -> int:
    """How many rows they are judged by: with too few, the first ranks lose up to a tenth of their gain."""
    if num_rows <= MAX_WHOLE and num_picks * num_rows <= MAX_PAIRS:
        return num_rows
    return min(max(TARGETS_PER_FIRST * num_first(num_picks), MIN_TARGETS), MAX_TARGETS)


def first_over_targets(
    picks: Ranked, targets: Targets, kernel: Kernel, *, redundancy_unit: int, duplicate_kernel: int
) -> np.ndarray:
    """Places of the first quarter of the picks by rank, int64; fewer where some are duplicates or deferred.

    Args:
        redundancy_unit: what a pick loses at a kernel of 1 to an earlier one, in the unit of gains over the targets.
    """
    kernel_PR, weight_R, cover_R = (
        kernel_block(picks.joint_PD, targets.joint_RD, kernel),
        targets.weight_R,
        targets.cover_R,
    )
    column_P = np.zeros(len(kernel_PR), np.int64)
    if redundancy_unit:  # then picks must see each other: as rows that count nothing
        kernel_PR = np.concatenate([kernel_PR, kernel_block(picks.joint_PD, picks.joint_PD, kernel)], axis=1)
        column_P = np.arange(len(cover_R), len(cover_R) + len(column_P))
        ones_R = weight_R if len(weight_R) else np.ones(len(cover_R), np.int64)
        weight_R = np.concatenate([ones_R, np.zeros(len(column_P), np.int64)])
        cover_R = np.concatenate([cover_R, picks.cover_P])
    order = lazy_greedy(
        kernel_PR, column_P, cover_R, picks.bonus_P, num_first(len(kernel_PR)), weight_N=weight_R, cost_C=picks.cost_P,
        redundancy_unit=redundancy_unit, redundancy_C=picks.cover_P,
    ).candidate_P  # fmt: skip
    _, closeness_P = closest_before(picks.joint_PD[order], kernel)
    is_twin_P = np.maximum(closeness_P, picks.cover_P[order]) >= duplicate_kernel
    return order[~is_twin_P & ~picks.is_deferred_P[order]]
