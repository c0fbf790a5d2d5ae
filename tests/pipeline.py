"""One small run of the whole pipeline, undisturbed, that others are compared with; and how to run the command."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmcsal.datasets.synthetic import SyntheticSpec, generate
from mmcsal.rundir import RunDir

BUDGET = 10
SETTINGS = [
    "media={window_s: 2.0, num_frames: 8, frame_size_px: 64}",
    "ingest.samples_per_partition=8",
    "pretrain={epochs: 4, batch_size: 32}",
]
TIME_LIMIT_S = 300


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == code, output
    return output


def selection(run_dir: Path) -> pa.Table:
    return RunDir(str(run_dir)).dataset("selection").to_table()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpus") / "rendered"
    return generate(SyntheticSpec(path=str(root), num_clips=64, num_broken=8, frame_size_px=64))


@pytest.fixture(scope="session")
def arguments(corpus) -> list[str]:
    return ["run", "--corpus", str(corpus / "clips"), "--budget", str(BUDGET), *SETTINGS]


@pytest.fixture(scope="session")
def undisturbed(arguments, tmp_path_factory) -> Path:
    """The run directory of a run on two CPUs of this machine."""
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(start(*arguments, "--run-dir", str(run_dir), "cluster.num_cpus=2"))
    return run_dir
