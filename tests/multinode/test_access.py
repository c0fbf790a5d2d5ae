"""Who may use a cluster that asks for a token, and what is told to the others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.local_cluster import LocalCluster

pytestmark = pytest.mark.cluster
TOKEN, WRONG = "0123456789abcdef" * 4, "fedcba9876543210" * 4
TIME_LIMIT_S = 60


@pytest.fixture(scope="module")
def closed() -> Iterator[LocalCluster]:
    with LocalCluster(head_cpus=1, token=TOKEN) as cluster:
        yield cluster


def check(cluster: LocalCluster, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`mmcsal run --check` on the cluster."""
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "run", "--check"]
    address = f"cluster.address={cluster.gcs_address}"
    return cluster.command([*command, address, *overrides], env=environment, timeout_s=TIME_LIMIT_S)


def test_the_right_token_is_let_in_and_told_what_will_be_asked_for(closed):
    done = check(closed)
    assert done.returncode == 0, done.stderr
    assert f"resources: the cluster at {closed.gcs_address} with 1 CPUs, 0 GPUs" in done.stdout
    assert "pretrain  1 workers of 1 CPU" in done.stdout


def test_others_are_told_within_a_minute_and_in_one_line(closed):
    """A wrong token, and none; both at once, as most of it is waiting."""
    others = [{"RAY_AUTH_TOKEN": WRONG}, {"RAY_AUTH_MODE": "disabled"}]
    with ThreadPoolExecutor() as pool:
        refused = list(pool.map(lambda environment: check(closed, **environment), others))
    for done in refused:
        assert done.returncode == 4, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("mmcsal: error: the Ray cluster at ")
        assert "RAY_AUTH_TOKEN" in last


def test_gpus_that_never_come_end_a_run_in_the_stated_time(closed, small_corpus, tmp_path):
    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "run", "--corpus", str(small_corpus)]
    command += ["--run-dir", str(run_dir), f"cluster.address={closed.gcs_address}", "cluster.wait_s=3"]
    command += ["cluster.use_gpus=true", "media={window_s: 0.5, num_frames: 4, frame_size_px: 32}"]
    begun_s = time.monotonic()
    done = closed.command(command, timeout_s=120)
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "pretrain waits for 1 workers of 1 CPU + 1 GPU" in last
    assert "cluster.wait_s = 3 s" in last
    assert "cluster.use_gpus=auto" in last
    assert time.monotonic() - begun_s < 110
    assert not list((run_dir / "checkpoints").glob("**/*")), "nothing of the stage was begun"
