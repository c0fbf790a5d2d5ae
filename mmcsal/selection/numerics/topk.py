"""Which of many values are the largest: a cut found by counting, a loop that runs over vectors, instead of sorting.

Values are integers below 2^24 in size, held in float32. Counts and sums of them stay exact in any order, so the
compiler may reorder the loops (`reassoc`) without changing a result.
"""

import numpy as np
from numba import njit

LOWEST, HIGHEST = np.float32(-(2**24)), np.float32(2**24)  # the lowest may occur, the highest must not
FIRST_STEP, GROWTH = np.float32(2**18), np.float32(4)
HALF, ONE_STEP = np.float32(0.5), np.float32(1)
ANY_ORDER = {"reassoc", "nsz", "nnan", "ninf", "contract"}


@njit(cache=True, nogil=True)
def cutoff(value_M, least, most, start):
    """A value that `least` to `most` of the values reach; more than `most` only where equal values leave no choice.

    Args:
        start: where the search begins; the cutoff of a similar row saves half of it. It changes no count's bounds.
    """
    low, high, step, at = LOWEST, HIGHEST, FIRST_STEP, np.float32(start)
    while True:
        count = _count_from(value_M, at)
        if least <= count <= most:
            return at
        if count > most:
            low = at
        else:
            high = at
        if high - low <= ONE_STEP:
            return low
        if low == LOWEST:
            at, step = max(high - step, low + ONE_STEP), step * GROWTH
        elif high == HIGHEST:
            at, step = min(low + step, high - ONE_STEP), step * GROWTH
        else:
            at = np.float32(np.floor((low + high) * HALF))


@njit(cache=True, nogil=True)
def kth_largest(value_M, k, start):
    """The k-th largest value, 1 <= k <= M."""
    return _least_from(value_M, cutoff(value_M, k, k, start))


@njit(cache=True, nogil=True, fastmath=ANY_ORDER)
def _count_from(value_M, at):
    count = np.float32(0)
    for m in range(value_M.shape[0]):
        count += ONE_STEP if value_M[m] >= at else np.float32(0)
    return count


@njit(cache=True, nogil=True, fastmath=ANY_ORDER)
def _least_from(value_M, at):
    least = HIGHEST
    for m in range(value_M.shape[0]):
        least = min(least, value_M[m] if value_M[m] >= at else HIGHEST)
    return least
