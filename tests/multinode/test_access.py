"""Who may use a cluster that asks for a token, and what is told to the others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cluster.local_cluster import LocalCluster
from mmcsal.config import ClusterSpec
from tests.helpers import TIME_LIMIT_S

pytestmark = pytest.mark.cluster
TOKEN, WRONG = "0123456789abcdef" * 4, "fedcba9876543210" * 4
WAIT_LIMIT_S = 60  # for the answer to a wrong token, beside what the command itself takes
ENVIRONMENTS = {"let in": {}, "wrong token": {"RAY_AUTH_TOKEN": WRONG}, "no token": {"RAY_AUTH_MODE": "disabled"}}


@pytest.fixture(scope="module")
def closed() -> Iterator[LocalCluster]:
    with LocalCluster(head_cpus=1, token=TOKEN) as cluster:
        yield cluster


@dataclass
class Answer:
    done: subprocess.CompletedProcess[str]
    wall_s: float


@pytest.fixture(scope="module")
def answers(closed) -> dict[str, Answer]:
    """What `mmcsal run --check` on the cluster tells with each token; all at once, as most of it is waiting."""

    def check(environment: dict[str, str]) -> Answer:
        command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "run", "--check"]
        begun_s = time.monotonic()
        address = f"cluster.address={closed.gcs_address}"
        done = closed.command([*command, address], env=environment, timeout_s=TIME_LIMIT_S)
        return Answer(done, time.monotonic() - begun_s)

    with ThreadPoolExecutor() as pool:
        return dict(zip(ENVIRONMENTS, pool.map(check, ENVIRONMENTS.values()), strict=True))


def test_the_right_token_is_let_in_and_told_what_will_be_asked_for(closed, answers):
    done = answers["let in"].done
    assert done.returncode == 0, done.stderr
    assert f"resources: the cluster at {closed.gcs_address} with 1 CPUs, 0 GPUs" in done.stdout
    assert "pretrain  1 workers of 1 CPU" in done.stdout


@pytest.mark.parametrize("who", ["wrong token", "no token"])
def test_others_are_told_within_a_minute_and_in_one_line(answers, who):
    """On a busy machine the command itself takes its time: that of who is let in tells how much."""
    done = answers[who].done
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mmcsal: error: the Ray cluster at ")
    assert "RAY_AUTH_TOKEN" in last
    assert answers[who].wall_s < answers["let in"].wall_s + WAIT_LIMIT_S


def test_gpus_that_never_come_end_a_run_in_the_stated_time(closed, small_corpus, tmp_path):
    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "run", "--corpus", str(small_corpus)]
    command += ["--run-dir", str(run_dir), f"cluster.address={closed.gcs_address}", "cluster.wait_s=3"]
    command += ["cluster.use_gpus=true", "media={window_s: 0.5, num_frames: 4, frame_size_px: 32}"]
    begun_s = time.monotonic()
    done = closed.command(command, timeout_s=TIME_LIMIT_S)
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "pretrain waits for 1 workers of 1 CPU + 1 GPU" in last
    assert "cluster.wait_s = 3 s" in last
    assert "cluster.use_gpus=auto" in last
    assert time.monotonic() - begun_s < ClusterSpec().wait_s
    assert not list((run_dir / "checkpoints").glob("**/*")), "nothing of the stage was begun"
