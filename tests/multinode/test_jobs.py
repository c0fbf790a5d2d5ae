"""`ray job submit` of jobs/run_all.py, as users do it: exit codes, log lines, status.json."""

import re
import subprocess
from pathlib import Path

import pytest

from cluster.local_cluster import LocalCluster
from mmcsal.rundir import RunDir
from tests.multinode.conftest import NUM_CLIPS

TIME_LIMIT_S = 400
SETTINGS = [
    "media={window_s: 0.5, num_frames: 4, frame_size_px: 32}",
    "ingest.samples_per_partition=4",
    "pretrain={epochs: 1, batch_size: 4}",
    "select.budget=3",
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """What git holds of the working tree: as small a working dir as a user's clone."""
    folder = tmp_path_factory.mktemp("sources")
    root = Path(__file__).resolve().parents[2]
    names = subprocess.run(
        ["git", "ls-files", "jobs", "mmcsal", "ray_config.yaml"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / name).read_bytes())
    return folder


def run_all(cluster: LocalCluster, sources: Path, *arguments: str):
    return cluster.submit(["python", "jobs/run_all.py", *arguments], working_dir=sources)


def own_lines(log: str) -> list[str]:
    """The log from the first line of the driver on."""
    lines = [line for line in log.splitlines() if line.strip()]
    entry = next(n for n, line in enumerate(lines) if "Running entrypoint for job" in line)
    return lines[entry + 1 :]


@pytest.mark.timeout(TIME_LIMIT_S + 100)
def test_a_submitted_run_ends_with_code_0_and_its_log_tells_its_stages(two_nodes, sources, small_corpus, tmp_path):
    run_dir = tmp_path / "run"
    job = run_all(two_nodes, sources, "--corpus", str(small_corpus), "--run-dir", str(run_dir), *SETTINGS)
    assert job.wait(TIME_LIMIT_S) == 0, job.logs()
    lines = own_lines(job.logs())
    assert not any(re.search(r"[\x00-\x08\x0b-\x1f]", line) for line in lines)
    for stage in ("manifest", "ingest", "pretrain", "embed", "select", "report"):
        assert any(line.startswith(f"{stage}: started") or f"{stage}: started" in line for line in lines), lines
    status = RunDir(str(run_dir)).read_json("status.json")
    assert (status["state"], status["exit_code"]) == ("done", 0)
    ids = RunDir(str(run_dir)).dataset("clips").to_table(columns=["sample_id"])["sample_id"].to_pylist()
    assert len(ids) == len(set(ids)) == NUM_CLIPS


def test_bad_input_ends_with_code_2_and_a_last_line_that_says_what_to_do(two_nodes, sources, tmp_path):
    missing = tmp_path / "no-such-corpus"
    job = run_all(two_nodes, sources, "--corpus", str(missing), "--run-dir", str(tmp_path / "run"))
    assert job.wait(120) == 2, job.logs()
    assert job.status() == "FAILED"
    last = own_lines(job.logs())[-1]
    assert last.startswith("mmcsal: error: ")
    assert str(missing) in last
