"""One small run of the whole pipeline, undisturbed, that others are compared with; and how to run the command."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from filelock import FileLock

from mmcsal.cli import main
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, generate
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S

BUDGET = 10
SETTINGS = [
    "media={window_s: 2.0, num_frames: 8, frame_size_px: 64}",
    "ingest.samples_per_partition=8",
    "pretrain={epochs: 4, batch_size: 32}",
]


# Ray Train hears so late of an epoch that there is time to kill its driver in between.
SLOW_TO_HEAR = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "2"}


def start(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
    """The command in a process of its own; `environment` comes on top of that of this process."""
    return subprocess.Popen(
        [sys.executable, "-c", "from mmcsal.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == code, output
    return output


@pytest.fixture
def mmcsal_here(shared_ray, monkeypatch, capsys) -> Callable[..., str]:
    """Runs a command in this process and its Ray; returns what it told."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        assert (end.value.code or 0) == code, told.err
        return told.out + told.err

    return run


def selection(run_dir: Path) -> pa.Table:
    return RunDir(str(run_dir)).dataset("selection").to_table()


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """One folder for all of pytest's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made by the first worker that asks for it."""
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def corpus(shared) -> Path:
    def render(root: Path) -> None:
        generate(SyntheticSpec(path=str(root), num_clips=64, num_broken=8, frame_size_px=64))

    return once(shared / "rendered", render)


@pytest.fixture(scope="session")
def arguments(corpus) -> list[str]:
    return ["run", "--corpus", str(corpus / "clips"), "--budget", str(BUDGET), *SETTINGS]


@pytest.fixture(scope="session")
def undisturbed(arguments, shared) -> Path:
    """The run directory of a run on two CPUs of this machine."""

    def run(run_dir: Path) -> None:
        finish(start(*arguments, "--run-dir", str(run_dir), "cluster.num_cpus=2"))

    return once(shared / "undisturbed", run)
