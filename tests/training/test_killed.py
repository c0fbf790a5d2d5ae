"""Training that is killed (SIGKILL) at steps drawn at random ends with the weights of training that is not."""

import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.killed import train
from tests.training.same import assert_same

NUM_KILLS = {"swav": 10, "pcl": 3}
# Every process is a fresh one, forked from one that has imported torch.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.training.killed"])


class Training:
    """A process that trains, and what it tells."""

    def __init__(self, kind: str, clips: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._told, theirs = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=train, args=(kind, clips, folder, theirs))
        self._process.start()
        theirs.close()

    def told(self) -> Iterator[int | str]:
        """The steps as they are saved, then `done`; ends where the process ends."""
        while True:
            try:
                yield self._told.recv()
            except EOFError:
                self._process.join()
                return

    def kill_at(self, step: int) -> int | str | None:
        """Kills once `step` has been saved; the process is then at work on a later one. Returns what it told last."""
        last = None
        for last in self.told():
            if last == "done" or last >= step:
                break
        self._process.kill()
        self._process.join()
        return last


@pytest.mark.parametrize("kind", NUM_KILLS)
def test_killed_at_random_steps_the_final_state_is_bitwise_equal(kind, clip_files, tmp_path):
    ids = [f"s{i}" for i in range(38)]
    clips = Path(clip_files([ids[:11], ids[11:20], ids[20:]])[0]).parent
    *_, num_steps, last = Training(kind, clips, tmp_path / "undisturbed").told()
    assert (last, num_steps) == ("done", 18)
    steps = sorted(random.Random(kind).sample(range(1, num_steps), NUM_KILLS[kind]))
    for step in steps:
        assert Training(kind, clips, tmp_path / "killed").kill_at(step) != "done", "over before the kill"
    *_, last = Training(kind, clips, tmp_path / "killed").told()
    assert last == "done"
    expected, found = (torch.load(tmp_path / name / "state.pt") for name in ("undisturbed", "killed"))
    assert_same(found, expected, "state")
