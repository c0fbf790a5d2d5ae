"""The local cluster: its nodes do work, can be lost in several ways, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.local_cluster import REPO, Job, LocalCluster
from cluster.processes import marked_pids, wait_until
from tests.helpers import TIME_LIMIT_S

pytestmark = pytest.mark.cluster
DRIVER = str(Path(__file__).with_name("driver.py"))


def start_tasks(cluster: LocalCluster, folder: Path, num_tasks: int = 2) -> Job:
    """A job of tasks that wait for `go`; returns when each of them has begun."""
    job = cluster.submit([sys.executable, DRIVER, str(folder), str(num_tasks)], working_dir=None)
    wait_until(lambda: len(started_on(folder)) >= num_tasks, TIME_LIMIT_S, "the tasks have begun")
    return job


def started_on(folder: Path) -> list[str]:
    """Names of the nodes on which a task has begun, one for each attempt."""
    return sorted(path.name.split("-", 2)[2] for path in folder.glob("started-*"))


def finish(job: Job, folder: Path) -> list[str]:
    """Lets the tasks end; returns the names of the nodes that they ended on."""
    (folder / "go").touch()
    assert job.wait(TIME_LIMIT_S) == 0, job.logs()
    told = next(line for line in job.logs().splitlines() if line.startswith("ran on"))
    return told.split()[2:]


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout


def assert_nothing_left(cluster: LocalCluster) -> None:
    assert marked_pids(f"MMCSAL_LOCAL_CLUSTER={cluster.id}") == []
    assert not cluster.folder.exists()


def test_a_node_that_hangs_for_a_short_time_goes_on(two_nodes, tmp_path):
    job = start_tasks(two_nodes, tmp_path)
    hung = two_nodes.nodes[1]
    hung.pause()
    (tmp_path / "go").touch()
    time.sleep(3)
    assert job.status() == "RUNNING"
    hung.resume()
    assert hung.name in finish(job, tmp_path)
    assert two_nodes.num_alive() == 3


def test_a_killed_driver_is_told_with_its_signal(two_nodes, tmp_path):
    job = start_tasks(two_nodes, tmp_path)
    job.kill_driver()
    code = job.wait(TIME_LIMIT_S)
    assert job.status() == "FAILED"
    assert code not in (0, None)
    assert two_nodes.num_alive() == 3


def test_a_driver_that_fails_hands_on_its_exit_code(two_nodes):
    job = two_nodes.submit([sys.executable, "-c", "raise SystemExit(3)"], working_dir=None)
    assert job.wait(TIME_LIMIT_S) == 3


def test_a_node_is_cut_off_and_the_cluster_goes_on(namespace_cluster, tmp_path):
    cluster = namespace_cluster
    first, second = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    job = start_tasks(cluster, tmp_path)
    for _ in range(2):  # short cuts: nobody is lost
        first.cut()
        time.sleep(2)
        first.restore()
        time.sleep(1)
    assert cluster.num_alive() == 3
    first.cut()
    wait_until(lambda: not first.alive, TIME_LIMIT_S, "the cut is noticed")
    assert finish(job, tmp_path) == [second.name, second.name]
    first.restore()
    # Its place was given away: a node that comes back after that ends by itself, and a new one may join.
    wait_until(first.ended, TIME_LIMIT_S, "the node that was given up ends")
    cluster.add_node(num_cpus=1)
    assert cluster.num_alive() == 3
    cluster.close()
    assert_nothing_left(cluster)
    assert cluster.network.name(1) not in namespaces()


def test_an_error_inside_the_block_leaves_nothing():
    cluster = LocalCluster()
    with pytest.raises(ZeroDivisionError), cluster:
        1 / len(marked_pids("no such mark"))
    assert_nothing_left(cluster)


def test_the_script_says_how_to_submit_and_ends_all_on_a_signal():
    command = [sys.executable, "-u", "cluster/local_cluster.py", "--nodes", "1"]
    script = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in script.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    output = "".join(lines)
    assert "2 nodes" in output
    assert "ray job submit --address http://127.0.0.2:" in output
    cluster_id = next(mark for mark in marks_of_children(script.pid))
    script.send_signal(signal.SIGTERM)
    assert script.wait(TIME_LIMIT_S) == 0, script.stdout.read()
    assert marked_pids(cluster_id) == []


def marks_of_children(pid: int) -> set[str]:
    """The cluster marks in the environment of the children of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    variables = [v for child in children for v in Path(f"/proc/{child}/environ").read_text().split("\0")]
    return {v for v in variables if v.startswith("MMCSAL_LOCAL_CLUSTER=")}
