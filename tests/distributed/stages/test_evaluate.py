"""`mmcsal evaluate` on real Ray: every trial once, whatever was killed, and the table of what they were worth."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmcsal.config import load_config
from mmcsal.distributed.stages.evaluate import trials
from mmcsal.distributed.stages.inputs import samples_with_labels
from mmcsal.evaluation.spec import ABLATIONS, COLD_START, EvaluateSpec
from mmcsal.evaluation.trial import run_trial
from mmcsal.storage.rundir import RunDir
from tests.distributed.pool import NUM_LABELED, run_here, write_pool
from tests.helpers import TIME_LIMIT_S
from tests.ray_mark import with_shared_ray

pytestmark = pytest.mark.usefixtures("shared_ray")
SETTINGS = ["evaluate.budgets=[12, 30]", "evaluate.num_seeds=3"]
NUM_TRIALS = 3 * len(COLD_START)


def only(*others: str) -> list[str]:
    """Settings that compare the two strategies that a table cannot do without, and some more."""
    both = ("{name: mmcsal}", "{name: random, select: {strategy: {kind: random}}}")
    return ["evaluate.groups=[]", f"evaluate.contenders=[{', '.join((*both, *others))}]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture
def evaluate(folder, tmp_path, monkeypatch, capsys):
    """Runs the command in this process and its Ray; its exit code, stdout and last line of stderr."""

    def run(*arguments: str, labels: str = "labels.csv") -> tuple[int, str, str]:
        start = ["evaluate", "--embeddings", str(folder / "e"), "--labels", str(folder / labels)]
        code, out, err = run_here(monkeypatch, capsys, *start, "--out", str(tmp_path / "o"), *SETTINGS, *arguments)
        return code, out, (err.strip().splitlines() or [""])[-1]

    return run


def times_ns(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "evaluation").glob("**/*.parquet")}


def test_every_trial_is_the_one_of_the_pure_function(evaluate, folder, tmp_path):
    code, out, _ = evaluate()
    assert code == 0
    spec = EvaluateSpec(budgets=(12, 30), num_seeds=3, labels=str(folder / "labels.csv"))
    found = trials(RunDir(str(tmp_path / "o")), spec)
    assert found.num_rows == len(spec.all_contenders) * 3 * 2
    config = load_config(None, [f"embeddings={folder / 'e'}", f"evaluate.labels={folder / 'labels.csv'}", *SETTINGS])
    samples = samples_with_labels(config, RunDir(str(tmp_path / "o")))
    assert len(samples) == NUM_LABELED
    expected = [
        row
        for seed in range(3)
        for contender in spec.all_contenders
        for row in run_trial(samples, contender, spec, seed)
    ]
    untimed = [{k: v for k, v in row.items() if k != "seconds"} for row in found.to_pylist()]
    assert untimed == [{k: v for k, v in row.items() if k != "seconds"} for row in expected]
    table = out.strip().splitlines()
    assert {line.split()[0] for line in table[2:-1]} == {contender.name for contender in spec.all_contenders}
    ranks = [float(re.findall(r" (\d+\.\d\d)\b", line)[0]) for line in table[2:-1]]  # accuracies have one digit
    assert ranks == sorted(ranks)


def test_more_seeds_and_strategies_add_to_what_is_there(evaluate, tmp_path):
    assert evaluate()[0] == 0
    before = times_ns(tmp_path / "o")
    code, out, _ = evaluate("evaluate.num_seeds=4", "evaluate.groups=[cold_start, ablations]")
    assert code == 0
    assert "mmcsal_no_alignment" in out
    after = times_ns(tmp_path / "o")
    assert len(after) == 4 * (len(COLD_START) + len(ABLATIONS))
    assert {name: after[name] for name in before} == before
    assert "other settings" in evaluate("evaluate.probe_c=1")[2]


def test_trials_of_other_labels_are_not_mixed_in(evaluate, folder, tmp_path):
    (folder / "changing.csv").write_text((folder / "labels.csv").read_text())
    assert evaluate(*only(), labels="changing.csv")[0] == 0
    (folder / "changing.csv").write_text((folder / "labels.csv").read_text().replace("class 1", "class 2"))
    code, _, line = evaluate(*only(), labels="changing.csv")
    assert code == 2
    assert "evaluate of other settings (files was" in line
    assert evaluate("--redo", "evaluate", *only(), labels="changing.csv")[0] == 0


def test_after_kill_9_it_goes_on_with_the_trials_that_are_missing(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "o"
    arguments = ["evaluate", "--embeddings", str(folder / "e"), "--labels", str(folder / "labels.csv")]
    arguments += ["--out", str(out), *SETTINGS]
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", *arguments]
    told_to = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=with_shared_ray(), **told_to)
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while len(times_ns(out)) < 3 and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    before = times_ns(out)
    assert 3 <= len(before) < NUM_TRIALS, told
    code, _, told = run_here(monkeypatch, capsys, *arguments)
    assert code == 0, told
    assert "evaluate: resumed" in told
    after = times_ns(out)
    assert len(after) == NUM_TRIALS
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sample_id,class\nclip-000,x\n", "has no column 'label'"),
        ("sample_id,label\nclip-000,x\nclip-000,y\n", "labels that differ, first ['clip-000']"),
        (
            "sample_id,label\nclip-000,x\nclip-001,x\n",
            "of 1 classes; give a .csv or .parquet file with labels of at least two classes",
        ),
        ("sample_id,label\nclip-000,x\nclip-001,y\n", "at least 10 are needed"),
        ("", "cannot be read"),
    ],
)
def test_labels_that_do_not_do(evaluate, folder, text, told):
    (folder / "bad.csv").write_text(text)
    code, _, line = evaluate(labels="bad.csv")
    assert code == 2
    assert told in line


def test_a_contender_may_see_the_embeddings_of_another_encoder(evaluate, folder, tmp_path):
    table = pq.read_table(folder / "e")
    (tmp_path / "other").mkdir()
    pq.write_table(table.take(np.arange(len(table))[::-1]), tmp_path / "other" / "all.parquet")
    pq.write_table(table.slice(60), tmp_path / "part.parquet")
    same = f"{{name: same, embeddings: {tmp_path / 'other'}}}"
    code, out, _ = evaluate(*only(same))
    assert code == 0
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["same"] == [*lines["mmcsal"], "+0.00", "+-", "0.00"]
    code, _, told = evaluate(*only(f"{{name: part, embeddings: {tmp_path / 'part.parquet'}}}"))
    assert code == 2
    assert "60 of 200 labeled samples are not there, first ['clip-000'" in told


def test_a_strategy_that_refuses_the_pool_is_left_out_and_told(evaluate):
    small = "{name: small, select: {strategy: {kind: k_center, max_pool_size: 20}}}"
    code, out, _ = evaluate(*only(small))
    assert code == 0
    assert "small" not in out
