"""The ranking sample: rows of the pool that the first ranks are judged by.

A row of a subproblem keeps the few candidates that it is closest to: enough to order the later ranks, too few to say
what the first ones cover. So all rows of pools up to 49 thousand, else those of lowest hash, look at the picks alone.
"""

from dataclasses import dataclass

import numpy as np

MAX_PAIRS = 2**26  # of picks and rows up to which all rows are looked at
MAX_WHOLE = 49152
FIRST_SHARE = 4  # a quarter of the picks come first
ROWS_PER_FIRST, MIN_ROWS, MAX_ROWS = 16, 4096, 16384


@dataclass(frozen=True)
class RankingSample:
    """Rows in the order of their hashes."""

    joint_RD: np.ndarray  # quantised, int16
    cover_RU: np.ndarray  # uint16, kernel to the nearest labeled sample
    weight_R: np.ndarray  # int64; empty = every row counts once


def num_first(num_picks: int) -> int:
    """How many ranks are judged by the ranking sample."""
    return -(-num_picks // FIRST_SHARE)


def ranking_sample_size(num_picks: int, num_rows: int) -> int:
    """How many rows they are judged by: with too few, the first ranks lose up to a tenth of their gain."""
    if num_rows <= MAX_WHOLE and num_picks * num_rows <= MAX_PAIRS:
        return num_rows
    return min(max(ROWS_PER_FIRST * num_first(num_picks), MIN_ROWS), MAX_ROWS)
