import threading
import time

import pytest

from mmcsal.training.data.prefetch import ahead


def num_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_the_items_come_in_their_order():
    assert list(ahead(lambda: iter(range(50)))) == list(range(50))
    assert list(ahead(lambda: iter(()))) == []
    assert num_threads() == 0


def test_only_so_many_are_drawn_before_they_are_asked_for():
    drawn = []

    def items():
        for n in range(20):
            drawn.append(n)
            yield n

    batches = ahead(items, depth=2)
    assert next(batches) == 0
    time.sleep(0.3)
    assert 2 <= len(drawn) <= 4  # one handed out, two ready, one waiting for room
    assert list(batches) == list(range(1, 20))


def test_work_in_the_background_goes_on_while_the_caller_is_busy():
    def slow():
        for n in range(4):
            time.sleep(0.1)
            yield n

    waited_s = 0.0
    batches = ahead(slow)
    for _ in range(4):
        time.sleep(0.15)
        begun_s = time.perf_counter()
        next(batches)
        waited_s += time.perf_counter() - begun_s
    assert waited_s < 0.3, "0.4 s of making batches overlap with 0.6 s of work"


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
