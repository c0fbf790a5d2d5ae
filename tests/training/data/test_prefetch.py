import threading

import pytest

from mmcsal.training.data.prefetch import ahead
from tests.helpers import TIME_LIMIT_S

A_MOMENT_S = 0.3  # for what must not come


def num_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_the_items_come_in_their_order():
    assert list(ahead(lambda: iter(range(50)))) == list(range(50))
    assert list(ahead(lambda: iter(()))) == []
    assert num_threads() == 0


class Counted:
    """Numbers from 0, each with an event that says it is being made."""

    def __init__(self, number: int):
        self.begun = [threading.Event() for _ in range(number)]

    def __iter__(self):
        for n, event in enumerate(self.begun):
            event.set()
            yield n


def test_only_so_many_are_drawn_before_they_are_asked_for():
    items = Counted(20)
    batches = ahead(lambda: iter(items), depth=2)
    for n in range(16):
        assert next(batches) == n
        assert items.begun[n + 3].wait(TIME_LIMIT_S), "one handed out, two ready, one waiting for room"
        assert not items.begun[n + 4].wait(0 if n else A_MOMENT_S), "and no more than these"
    assert list(batches) == [16, 17, 18, 19]


def test_work_in_the_background_goes_on_while_the_caller_is_busy():
    """The next item is made between two of the caller's: before it asks."""
    items = Counted(4)
    batches = ahead(lambda: iter(items))
    for n in range(3):
        assert next(batches) == n
        assert items.begun[n + 1].wait(TIME_LIMIT_S)
    assert list(batches) == [3]


def test_an_error_reaches_the_caller_after_the_items_before_it():
    def failing():
        yield 1
        raise OSError("part-3 is gone")

    batches = ahead(failing)
    assert next(batches) == 1
    with pytest.raises(OSError, match="part-3 is gone"):
        next(batches)
    assert num_threads() == 0


def test_a_caller_that_leaves_off_leaves_no_thread_behind():
    batches = ahead(lambda: iter(range(1000)))
    next(batches)
    batches.close()
    assert num_threads() == 0
