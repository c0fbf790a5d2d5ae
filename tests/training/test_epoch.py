from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mmcsal.training import epoch
from mmcsal.training.epoch import run_epoch
from mmcsal.training.position import Position

NUM_STEPS = 5


class Clock:
    """A time that passes only where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now_s = 0.0
        monkeypatch.setattr(epoch, "time", SimpleNamespace(perf_counter=lambda: self.now_s))
        monkeypatch.setattr(epoch, "ahead", lambda make: make())  # nothing is read while a step runs


@pytest.mark.parametrize(("read_s", "step_s", "share"), [(3.0, 1.0, 0.75), (1.0, 3.0, 0.25)])
@pytest.mark.parametrize("first_step", [0, 2])
def test_time_spent_waiting_for_clips_is_told(first_step, read_s, step_s, share, monkeypatch):
    clock, position = Clock(monkeypatch), Position(seed=0, steps_per_epoch=NUM_STEPS)
    position.step_in_epoch, position.sums = first_step, {"loss": 2.0 * first_step}

    def read(number: int, *, rank: int, num_workers: int, first_step: int) -> Iterator[int]:
        assert (number, rank, num_workers) == (0, 1, 4)
        for step in range(first_step, NUM_STEPS):
            clock.now_s += read_s
            yield step

    def step(_) -> None:
        clock.now_s += step_s
        position.advance({"loss": 2.0})

    figures = run_epoch(position, SimpleNamespace(epoch=read), step, rank=1, num_workers=4)
    assert figures == {"loss": 2.0, "steps_per_s": 1 / (read_s + step_s), "data_wait_share": share}
    assert (position.epoch, position.step_in_epoch) == (1, 0)
