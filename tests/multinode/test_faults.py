"""The pipeline as a submitted job on several nodes: what breaks in the middle of each stage changes no pick."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.campaign import STAGES, Fault, Loss, Scene, cut_link, lose_node, loss_of, selection_of
from cluster.local_cluster import REPO, LocalCluster
from mmcsal.contracts.stages import STAGE_NAMES
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S

pytestmark = pytest.mark.cluster


class InPlace(Scene):
    """Runs the code where it lies: shipped code is compiled anew on every node."""

    def submit(self) -> None:
        command = [sys.executable, str(REPO / "jobs" / "run_all.py"), "--run-dir", self.run_dir.uri, *self.arguments]
        self.jobs.append(self.cluster.submit(command, working_dir=None))


def run_with(
    fault: Fault, cluster: LocalCluster, arguments: list[str], folder: Path, scene_class: type[Scene] = Scene
) -> Scene:
    """Runs the pipeline on two nodes of one CPU; the fault strikes in the middle of every stage."""
    while len([node for node in cluster.nodes[1:] if not node.ended()]) < 2:
        cluster.add_node(num_cpus=1)
    without_run = arguments[1:]  # it is the name of the job's script
    scene = scene_class(cluster, RunDir(str(folder)), without_run)
    scene.submit()
    for stage in STAGES:
        scene.wait_for_middle(stage)
        fault(scene, stage)
    assert scene.job.wait(TIME_LIMIT_S) == 0, scene.job.logs()[-3000:]
    return scene


@pytest.fixture
def same_as_undisturbed(undisturbed) -> Callable[[RunDir], None]:
    def check(run_dir: RunDir) -> None:
        assert loss_of(run_dir) == Loss(0, 0)
        assert selection_of(run_dir).equals(selection_of(RunDir(str(undisturbed))))

    return check


def test_a_link_cut_in_every_stage_changes_no_pick(namespace_cluster, arguments, same_as_undisturbed, tmp_path):
    same_as_undisturbed(run_with(cut_link, namespace_cluster, arguments, tmp_path / "run", InPlace).run_dir)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster() as cluster:
        yield cluster


def test_a_node_lost_in_every_stage_changes_no_pick(cluster, arguments, same_as_undisturbed, tmp_path):
    scene = run_with(lose_node, cluster, arguments, tmp_path / "run")
    same_as_undisturbed(scene.run_dir)
    log = scene.job.logs()
    own_lines = [line for line in log.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert not any(re.search(r"[\x00-\x08\x0b-\x1f]", line) for line in own_lines), "control characters"
    for stage in STAGE_NAMES:
        assert any(f"{stage}: done in" in line for line in own_lines), log
    assert scene.run_dir.read_json("status.json")["exit_code"] == 0
    assert scene.run_dir.committed("checkpoints")["num_retries"] >= 1, "the loss is told"


def test_bad_input_ends_a_job_with_code_2_and_a_last_line_that_says_what_to_do(cluster, tmp_path):
    missing = str(tmp_path / "no-such-corpus")
    command = [sys.executable, "jobs/run_all.py", "--corpus", missing, "--run-dir", str(tmp_path / "run")]
    job = cluster.submit(command)
    assert job.wait(TIME_LIMIT_S) == 2, job.logs()
    last = job.logs().strip().splitlines()[-1]
    assert last.startswith("mmcsal: error: ")
    assert missing in last
