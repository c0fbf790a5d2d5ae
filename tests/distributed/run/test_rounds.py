"""`mmcsal next-round`: never the same sample again, and better labels than as many random ones."""

import csv
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.cli import main
from mmcsal.contracts.embedding import vector_column
from mmcsal.contracts.selection import SELECTION
from mmcsal.evaluation.probe import fit_classifier
from mmcsal.evaluation.samples import Samples, labeled
from mmcsal.evaluation.trial import scores
from mmcsal.storage.rundir import RunDir

pytestmark = pytest.mark.usefixtures("shared_ray")
NUM_ROWS, NUM_TEST, BUDGET, NUM_CLASSES = 600, 300, 15, 12
WARM = ["badge", "entropy", "mmcsal"]


@pytest.fixture(scope="module")
def samples() -> Samples:
    rng = np.random.default_rng(0)
    label_N = rng.integers(0, NUM_CLASSES, NUM_ROWS + NUM_TEST)
    latent_ND = rng.normal(size=(NUM_CLASSES, 8))[label_N] + 0.7 * rng.normal(size=(len(label_N), 8))
    a_ND, v_ND = (np.tanh(latent_ND @ rng.normal(size=(8, d))).astype(np.float32) for d in (12, 16))
    return labeled([f"clip-{n:04d}" for n in range(len(label_N))], a_ND, v_ND, [f"class {n:02d}" for n in label_N])


@pytest.fixture
def run(tmp_path, samples, monkeypatch):
    """Runs a command of mmcsal in this process; embeddings of the first rows lie in `e`."""
    pool = samples.take(np.arange(NUM_ROWS))
    columns = {"video_embedding": vector_column(pool.a_ND), "audio_embedding": vector_column(pool.v_ND)}
    (tmp_path / "e").mkdir()
    pq.write_table(pa.table({"sample_id": pool.ids.tolist(), **columns}), tmp_path / "e" / "0.parquet")

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0

    return run


def picks_of(run_dir: Path) -> list[str]:
    return RunDir(str(run_dir)).dataset("selection", SELECTION).to_table()["sample_id"].to_pylist()


def write_labels(path: Path, samples: Samples, ids: list[str]) -> None:
    label_of = dict(zip(samples.ids, (samples.classes[n] for n in samples.label_N), strict=True))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["sample_id", "label"], *([i, label_of[i]] for i in ids)])


def accuracy(samples: Samples, ids: list[str]) -> float:
    seen = samples.take(np.flatnonzero(np.isin(samples.ids.astype(str), ids)))
    classifier = fit_classifier(seen.a_ND, seen.v_ND, [seen.classes[n] for n in seen.label_N])
    return scores(classifier, samples.take(np.arange(NUM_ROWS, NUM_ROWS + NUM_TEST)))["accuracy"]


@pytest.mark.parametrize("kind", WARM)
def test_three_rounds_never_repeat_a_pick_and_beat_random_rounds(run, samples, tmp_path, kind):
    out, labels = tmp_path / "o", tmp_path / "labels.csv"
    assert run("select", "--embeddings", str(tmp_path / "e"), "--budget", str(BUDGET), "--out", str(out)) == 0
    picks = picks_of(out)
    refused = picks[:2]  # that the annotators could make nothing of
    for number in (1, 2):
        write_labels(labels, samples, [i for i in picks if i not in refused])
        command = ["next-round", "--run-dir", str(out), "--labels", str(labels), "--budget", str(BUDGET)]
        assert run(*command, f"select.strategy={{kind: {kind}}}") == 0
        round_dir = out / "rounds" / f"{number:03d}"
        table = RunDir(str(round_dir)).dataset("selection").to_table()
        assert set(table["round"].to_pylist()) == {number}
        picks += table["sample_id"].to_pylist()
        assert len(set(picks)) == (number + 1) * BUDGET
        receipt = RunDir(str(round_dir)).committed("selection") or {}
        assert receipt["num_labels"] == number * BUDGET - len(refused)
        assert 0 < receipt["accuracy"] <= 1
    ids = samples.ids[:NUM_ROWS].tolist()
    at_random = [accuracy(samples, list(np.random.default_rng(s).choice(ids, len(picks), False))) for s in range(20)]
    assert accuracy(samples, picks) > np.mean(at_random)


def test_a_round_needs_a_selection_before_it(run, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("sample_id,label\n")
    code = run("next-round", "--run-dir", str(tmp_path / "o"), "--labels", str(tmp_path / "labels.csv"))
    assert code == 2
    assert "has no selection yet" in capsys.readouterr().err
