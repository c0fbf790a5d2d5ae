"""The pipeline as a submitted job on several nodes: what breaks in the middle of each stage changes no pick."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.campaign import STAGES, Fault, Loss, Scene, cut_link, lose_node, loss_of, selection_of
from cluster.local_cluster import LocalCluster
from mmcsal.rundir import RunDir

TIME_LIMIT_S = 480


def run_with(fault: Fault, cluster: LocalCluster, arguments: list[str], folder: Path) -> RunDir:
    """Runs the pipeline on two nodes of one CPU; the fault strikes in the middle of every stage."""
    while len([node for node in cluster.nodes[1:] if not node.ended()]) < 2:
        cluster.add_node(num_cpus=1)
    scene = Scene(cluster, RunDir(str(folder)), arguments[1:])  # without `run`: that is the name of the job's script
    scene.submit()
    for stage in STAGES:
        scene.wait_for_middle(stage)
        fault(scene, stage)
    assert scene.job.wait(TIME_LIMIT_S) == 0, scene.job.logs()[-3000:]
    return scene.run_dir


@pytest.fixture
def same_as_undisturbed(undisturbed) -> Callable[[RunDir], None]:
    def check(run_dir: RunDir) -> None:
        assert loss_of(run_dir) == Loss(0, 0)
        assert selection_of(run_dir).equals(selection_of(RunDir(str(undisturbed))))

    return check


@pytest.mark.timeout(TIME_LIMIT_S)
def test_a_node_lost_in_every_stage_changes_no_pick(arguments, same_as_undisturbed, tmp_path):
    with LocalCluster() as cluster:
        same_as_undisturbed(run_with(lose_node, cluster, arguments, tmp_path / "run"))


@pytest.mark.timeout(TIME_LIMIT_S)
def test_a_link_cut_in_every_stage_changes_no_pick(namespace_cluster, arguments, same_as_undisturbed, tmp_path):
    same_as_undisturbed(run_with(cut_link, namespace_cluster, arguments, tmp_path / "run"))
