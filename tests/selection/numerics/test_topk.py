import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.topk import HIGHEST, LOWEST, cutoff, kth_largest

MOST = 2**24 - 1
LISTS = st.one_of(
    st.lists(st.integers(-MOST - 1, MOST), min_size=1, max_size=80), st.lists(st.integers(-2, 2), min_size=1)
)


@settings(deadline=None)  # the first call compiles
@given(LISTS, st.integers(0, 10**6), st.integers(-MOST, MOST))
@example([-MOST - 1] * 3, 0, 0)
@example([MOST, -MOST - 1], 1, MOST)
def test_the_kth_largest_is_that_of_a_sort(values, number, start):
    k = number % len(values) + 1
    assert kth_largest(np.array(values, np.float32), k, np.float32(start)) == sorted(values)[-k]


@settings(deadline=None)  # the first call compiles
@given(LISTS, st.integers(0, 10**6), st.integers(0, 9), st.integers(-MOST, MOST))
def test_a_cut_lets_pass_what_is_asked_and_more_only_of_equals(values, number, spare, start):
    least = number % len(values) + 1
    cut = cutoff(np.array(values, np.float32), least, least + spare, np.float32(start))
    assert LOWEST <= cut < HIGHEST
    passing = [v for v in values if v >= cut]
    assert len(passing) >= least
    if len(passing) > least + spare:
        assert min(passing) == cut
        assert sum(v > cut for v in values) < least
