"""Training that is killed (SIGKILL) at steps drawn at random ends with the weights of training that is not."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.same import assert_same

SCRIPT = Path(__file__).with_name("killed.py")
NUM_KILLS = {"swav": 10, "pcl": 3}


def start(kind: str, clips: Path, folder: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT), kind, str(clips), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at(step: int, process: subprocess.Popen) -> str:
    """Kills once `step` has been saved; the process is then at work on a later one. Returns the last line read."""
    line = ""
    for line in process.stdout:
        if line.strip() == "done" or int(line) >= step:
            break
    process.kill()
    process.wait()
    return line.strip()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", NUM_KILLS)
def test_killed_at_random_steps_the_final_state_is_bitwise_equal(kind, clip_files, tmp_path):
    ids = [f"s{i}" for i in range(38)]
    clips = Path(clip_files([ids[:11], ids[11:20], ids[20:]])[0]).parent
    undisturbed = start(kind, clips, tmp_path / "undisturbed")
    lines = undisturbed.communicate(timeout=300)[0].split()
    num_steps = int(lines[-2])
    assert (lines[-1], num_steps) == ("done", 18)
    steps = sorted(random.Random(kind).sample(range(1, num_steps), NUM_KILLS[kind]))
    for step in steps:
        last = kill_at(step, start(kind, clips, tmp_path / "killed"))
        assert last != "done", "over before the kill"
    assert start(kind, clips, tmp_path / "killed").communicate(timeout=300)[0].split()[-1] == "done"
    expected, found = (torch.load(tmp_path / name / "state.pt") for name in ("undisturbed", "killed"))
    assert_same(found, expected, "state")
