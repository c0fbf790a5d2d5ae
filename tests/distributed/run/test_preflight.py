"""A slip of the finger: the command ends at once, and what was there is there as before."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmcsal.cli import main
from mmcsal.config import load_config, to_yaml
from mmcsal.distributed.run.settings import digest_of_embeddings, of_select
from mmcsal.storage.rundir import RunDir
from tests.distributed.pool import write_pool

NARROW = ["evaluate.groups=[]", "evaluate.contenders=[{name: random}]", "evaluate.num_seeds=2", "evaluate.budgets=[20]"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command over a small pool in `e`; what it told."""
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        assert int(end.value.code or 0) == code, told.err
        assert "Traceback" not in told.err
        return told.out + told.err

    return run


def tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def selected(root: Path) -> None:
    """Leaves what SELECT would, without Ray."""
    config = load_config(None, [f"embeddings={root / 'e'}", f"run_dir={root / 'o'}", "select.budget=3"])
    run_dir, settings = RunDir(config.run_dir), {**of_select(config), "upstream": digest_of_embeddings(config)}
    run_dir.write_bytes(to_yaml(config).encode(), "config.yaml")
    run_dir.begin("selection", settings)
    run_dir.write_part("selection", "part-00000.parquet", pa.table({"sample_id": ["clip-000"]}))
    run_dir.commit("selection", {"settings": settings, "digest": ""})


SELECT = ["select", "--embeddings", "e", "--budget", "3", "--out", "o"]


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        (["--budget", "500"], "500 samples, but only 240 are embedded"),
        (["select.include=nowhere.txt"], "select.include: 'nowhere.txt' cannot be read"),
        (["select.exclude=pipe"], "no regular file"),
        (["select.labels=nowhere.csv"], "labels: 'nowhere.csv' cannot be read"),
        (["select.labels=one.csv"], "labels: 'one.csv' holds labels of 1 classes; give"),
        (["select.earlier=[nowhere]"], "select.earlier 'nowhere' does not exist"),
        (["select.strategy={kind: badge}"], "badge chooses by a classifier"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(run, tmp_path, slip, told):
    selected(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "one.csv").write_text("sample_id,label\nclip-000,x\nclip-001,x\n")
    before = tree(tmp_path / "o")
    for check in ([], ["--check"]):
        assert told in run("select", "--run-dir", "o", *slip, *check, code=2)
    assert tree(tmp_path / "o") == before
    assert "committed already" in run("select", "--run-dir", "o", "--check")


def empty(root: Path) -> str:
    (root / "sub").mkdir()
    return "sub"


def rows(root: Path) -> str:
    (root / "rows.csv").write_text("path,start_s\na.mp4,early\n")
    return "rows.csv"


def twice(root: Path) -> str:
    (root / "twice.csv").write_text("path,sample_id\n/a.mp4,a\n/b.mp4,a\n")
    return "twice.csv"


@pytest.mark.parametrize(("corpus", "told"), [(empty, "holds no video"), (rows, "start_s"), (twice, "'a'")])
def test_a_corpus_that_cannot_be_scanned_leaves_no_run(run, tmp_path, corpus, told):
    assert told in run("ingest", "--corpus", corpus(tmp_path), "--run-dir", "o", code=2)
    assert not (tmp_path / "o").exists()
    assert "no corpus is given" in run("ingest", "--run-dir", "o", code=2)
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("shared_ray")
def test_a_selection_that_fails_leaves_the_one_before_it(run, tmp_path):
    run(*SELECT)
    picks = RunDir("o").dataset("selection").to_table()
    config = (tmp_path / "o" / "config.yaml").read_bytes()
    (tmp_path / "strange.txt").write_text("nobody\n")
    assert "1 of 1 ids are not in the pool" in run("select", "--run-dir", "o", "select.include=strange.txt", code=2)
    assert RunDir("o").dataset("selection").to_table().equals(picks)
    assert (tmp_path / "o" / "config.yaml").read_bytes() == config
    run("next-round", "--run-dir", "o", "--labels", "labels.csv", "--check")
    assert "committed already" in run("select", "--run-dir", "o")


@pytest.mark.usefixtures("shared_ray")
def test_labels_that_were_wrong_are_forgotten(run, tmp_path):
    command = ["evaluate", "--embeddings", "e", "--out", "v", *NARROW]
    assert "nowhere.csv' cannot be read" in run(*command, "--labels", "nowhere.csv", code=2)
    assert not (tmp_path / "v").exists()
    (tmp_path / "others.csv").write_text("sample_id,label\nnobody,x\nclip-001,y\n")
    assert "at least two classes" in run(*command, "--labels", "others.csv", code=2)
    assert "evaluation: " in run(*command, "--labels", "labels.csv")
