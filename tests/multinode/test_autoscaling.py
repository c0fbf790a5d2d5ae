"""Ray's autoscaler brings the nodes that decode, from none, and takes them away again."""

import subprocess
import sys
import time

import pytest

from cluster.local_cluster import LocalCluster
from cluster.processes import wait_until
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S
from tests.multinode.conftest import NUM_CLIPS

pytestmark = pytest.mark.cluster
GROUPS = {
    "cpu-decode": {
        "resources": {"CPU": 1, "object_store_memory": 100_000_000},
        "min_workers": 0,
        "max_workers": 2,
    }
}


def test_ingest_scales_the_decode_group_up_from_zero_and_back(small_corpus, tmp_path):
    run_dir = tmp_path / "run"
    with LocalCluster(head_cpus=0, groups=GROUPS) as cluster:
        assert cluster.num_alive() == 1
        command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "ingest"]
        command += ["--corpus", str(small_corpus), "--run-dir", str(run_dir)]
        command += [f"cluster.address={cluster.gcs_address}", "ingest={num_workers: 2, samples_per_partition: 1}"]
        command += ["media={window_s: 1, num_frames: 48, frame_size_px: 512}"]  # long enough for a second node to come
        output = (tmp_path / "output.txt").open("w+")
        job = subprocess.Popen(command, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT)
        most, end_s = 0, time.monotonic() + TIME_LIMIT_S
        while job.poll() is None and time.monotonic() < end_s:
            most = max(most, cluster.num_alive() - 1)
            time.sleep(0.3)
        if job.poll() is None:
            job.kill()
        assert job.wait() == 0, (tmp_path / "output.txt").read_text()
        assert most == 2
        wait_until(lambda: cluster.num_alive() == 1, TIME_LIMIT_S, "the group is back at zero")
        lost = [node for node in cluster.node_table() if node["state"] == "DEAD"]
        assert len(lost) >= most  # on a slow machine the autoscaler gives one up that starts late, and brings another
        assert all(node["resources_total"].get("CPU", 1) == 1 for node in lost)
    ids = RunDir(str(run_dir)).dataset("clips").to_table(columns=["sample_id"])["sample_id"].to_pylist()
    assert len(ids) == len(set(ids)) == NUM_CLIPS
