"""`mmcsal finetune` on real Ray, on the clips and encoders of the small run that others share."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from mmcsal.cli import main
from mmcsal.datasets.synthetic.corpus import read_truth
from mmcsal.distributed.workers.finetune import CLASSIFIER_FILE, FINAL_PART, FOLDER
from mmcsal.distributed.workers.trainer import figures_of_part
from mmcsal.evaluation.joins import labeled_clips
from mmcsal.storage.rundir import RunDir
from tests.distributed.figures import has_checkpoint
from tests.helpers import TIME_LIMIT_S

pytestmark = pytest.mark.usefixtures("shared_ray")
RATES = ["finetune.learning_rate=0.003", "finetune.encoder_learning_rate=0.001"]
SETTINGS = ["finetune.label_column=motion", "finetune.batch_size=16", *RATES]


@dataclass
class Done:
    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        return self.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def truth(corpus) -> Path:
    return corpus / "truth.parquet"


@pytest.fixture(scope="module")
def copies(undisturbed, tmp_path_factory) -> Callable[[], Path]:
    """Copies of the small run, each to be fine-tuned by itself."""

    def copy() -> Path:
        run_dir = tmp_path_factory.mktemp("finetune") / "run"
        shutil.copytree(undisturbed, run_dir, ignore=shutil.ignore_patterns("report", "embeddings", "selection"))
        return run_dir

    return copy


@pytest.fixture
def finetune(monkeypatch, capsys) -> Callable[..., Done]:
    """Runs the command in this process and its Ray."""

    def run(run_dir: Path, labels: Path, *arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *command(run_dir, labels), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(end.value.code or 0, *capsys.readouterr())

    return run


def command(run_dir: Path, labels: Path) -> list[str]:
    return ["finetune", "--run-dir", str(run_dir), "--labels", str(labels), *SETTINGS]


def figures_of(run_dir: Path) -> dict[str, float]:
    return figures_of_part(RunDir(str(run_dir)), FOLDER, FINAL_PART)[1]


def losses_of(run_dir: Path) -> list[dict[str, float]]:
    """The losses of each epoch."""
    place = RunDir(str(run_dir))
    epochs = [figures_of_part(place, FOLDER, part)[1] for part in place.parts(FOLDER) if part != FINAL_PART]
    return [{name: figures[name] for name in ("loss", "loss_video", "loss_audio")} for figures in epochs]


def test_it_beats_the_majority_and_ends_alike_after_kill_9_and_with_other_workers(finetune, truth, copies):
    run_dir = copies()
    done = finetune(run_dir, truth)
    assert done.code == 0, done.stderr
    figures = figures_of(run_dir)
    counts = Counter(row["motion"] for row in read_truth(truth.parent).to_pylist() if row["motion"])
    assert len(counts) == 4
    assert figures["num_tested"] + figures["num_trained"] == counts.total()
    assert figures["accuracy"] > max(counts.values()) / counts.total() + 0.15
    assert {f"recall_of:{name}" for name in counts} <= figures.keys()
    assert f"both {figures['accuracy']:15.3f}" in done.stdout
    saved = torch.load(RunDir(str(run_dir)).path(FOLDER, CLASSIFIER_FILE), weights_only=True)
    assert saved["classes"] == sorted(counts)
    assert "finetune: committed already" in finetune(run_dir, truth).stderr
    killed = copies()
    first_epoch = _kill_in_the_middle(killed, truth)
    num_epochs = len(losses_of(killed))
    begun_ns = first_epoch.stat().st_mtime_ns
    done = finetune(killed, truth, "finetune.num_workers=2")
    assert done.code == 0, done.stderr
    assert "finetune: resumed" in done.stderr
    assert first_epoch.stat().st_mtime_ns == begun_ns, "it began anew instead of from its checkpoint"
    assert len(losses_of(run_dir)) > 2
    # The rounding of other workers grows a thousandfold in ten epochs: alike are the first ones after the kill.
    for found, expected in zip(losses_of(killed)[: num_epochs + 2], losses_of(run_dir), strict=False):
        assert found == pytest.approx(expected, rel=1e-3)
    assert len(losses_of(killed)) == len(losses_of(run_dir))
    others = figures_of(killed)
    assert others.keys() == figures.keys()
    assert all(others[name] == figures[name] for name in ("num_trained", "num_tested"))
    # Other workers round otherwise, which may move a sample over the edge of its class, or of a bin of confidence.
    assert others["accuracy"] == pytest.approx(figures["accuracy"], abs=1.5 / figures["num_tested"])
    assert others["calibration_error"] == pytest.approx(figures["calibration_error"], abs=0.1)


def _kill_in_the_middle(run_dir: Path, truth: Path) -> Path:
    """Kills the command, in a process of its own, between two epochs; returns what its first epoch measured."""
    place = RunDir(str(run_dir))
    program = [sys.executable, "-c", "from mmcsal.cli import main; main()", *command(run_dir, truth)]
    environment = {**os.environ, "RAY_ADDRESS": ""}
    process = subprocess.Popen([*program, "cluster.num_cpus=1"], stderr=subprocess.PIPE, text=True, env=environment)
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while not has_checkpoint(place, FOLDER) and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert has_checkpoint(place, FOLDER), told
    assert place.committed(FOLDER) is None, "over before the kill"
    return Path(place.path(FOLDER, place.parts(FOLDER)[0]))


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (
            "xxxx",
            "labels: '{path}' holds labels of 1 classes; give a .csv or .parquet file with labels of at least two",
        ),
        ("xyxy", "at least 10 are needed: give more labels, or raise finetune.test_fraction"),
    ],
)
def test_labels_that_do_not_do(finetune, truth, copies, tmp_path, classes, told):
    path = tmp_path / "labels.csv"
    whole = [row["sample_id"] for row in read_truth(truth.parent).to_pylist() if row["broken"] is None]
    rows = [f"{sample_id},{label}" for sample_id, label in zip(whole, classes, strict=False)]
    path.write_text("\n".join(["sample_id,motion", *rows]))
    run_dir = copies()
    done = finetune(run_dir, path)
    assert done.code == 2
    assert told.format(path=path) in done.last_line
    path.write_text("\n".join(["sample_id,motion", *rows, "other.mp4,y"]))
    done = finetune(run_dir, path, "--redo", "finetune")
    assert done.code == 2
    assert f"1 of 5 labeled samples in '{path}' are none of this run's" in done.last_line
    assert "first ['other.mp4']; leave them out" in done.last_line


def test_labels_of_samples_that_could_not_be_read_are_left_out(truth, undisturbed):
    table = pa.table({name: read_truth(truth.parent)[name] for name in ("sample_id", "broken")})
    table = table.set_column(1, "label", pa.array(["x", "y"] * (table.num_rows // 2)))
    samples, (warning,) = labeled_clips(table, RunDir(str(undisturbed)), where="here")
    assert len(samples) == 64
    assert warning.startswith("8 labeled samples were rejected by ingest and are left out")


def test_a_run_on_embeddings_made_elsewhere_has_no_clips(finetune, truth, undisturbed, tmp_path):
    done = finetune(tmp_path, truth, f"embeddings={RunDir(str(undisturbed)).place('embeddings')}")
    assert done.code == 2
    assert "give the --run-dir of a run on a corpus" in done.last_line
