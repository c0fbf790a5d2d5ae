"""`mmcsal tune` on real Ray Tune: every trial once, on two CPUs, whatever was killed."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from mmcsal.config import load_config
from mmcsal.distributed.stages.tune import tuning_samples
from mmcsal.distributed.workers.tune import TrialProgress
from mmcsal.selection import SelectSpec
from mmcsal.storage.rundir import RunDir
from mmcsal.tuning.spec import with_settings
from mmcsal.tuning.trial import measure
from tests.distributed.pool import run_here, write_pool
from tests.helpers import TIME_LIMIT_S
from tests.ray_mark import with_shared_ray

pytestmark = pytest.mark.usefixtures("shared_ray")
NUM_TRIALS = 10
SETTINGS = ["select.budget=24", f"tune.num_trials={NUM_TRIALS}", "tune.num_seeds=2", "tune.num_check_seeds=3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("tune"))


def arguments_of(folder: Path, out: Path, *others: str) -> list[str]:
    return ["tune", "--embeddings", str(folder / "e"), "--out", str(out), *SETTINGS, *others]


def table_of(out: Path) -> pa.Table:
    """As plain pyarrow reads it: whatever else lies there must not disturb."""
    return pq.read_table(out / "tuning")


def measured(out: Path) -> dict[str, int]:
    """What is known of settings and seeds, by the time when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "tuning").glob("*/_measured/*.json")}


def kill_in_between(arguments: list[str], out: Path) -> dict[str, int]:
    """Starts a search on two CPUs, ends it by SIGKILL, and returns what it had measured."""
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", *arguments]
    told_to = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=with_shared_ray(), **told_to)
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while len(measured(out)) < 4 and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert 4 <= len(measured(out)) < 2 * NUM_TRIALS, told
    return measured(out)


def test_trials_on_two_cpus_survive_kill_9_and_find_what_the_undisturbed_and_the_pure_function_find(
    folder, tmp_path, monkeypatch, capsys
):
    labels, out = str(folder / "labels.csv"), tmp_path / "killed"
    before = kill_in_between(arguments_of(folder, out, "--labels", labels), out)
    code, told, log = run_here(monkeypatch, capsys, *arguments_of(folder, out, "--labels", labels))
    assert code == 0, log
    assert "tune: resumed" in log
    after = measured(out)
    assert {name: after[name] for name in before} == before  # not measured again
    lines = told.splitlines()
    assert lines[0].split()[:2] == ["setting", "accuracy"]
    assert any("rank correlation of coverage" in line for line in lines)
    assert any(line.startswith("the present settings are kept: ") for line in lines)  # three seeds are too few to tell
    assert (out / "tuning.html").stat().st_size > 10_000

    code, _, log = run_here(monkeypatch, capsys, *arguments_of(folder, tmp_path / "o", "--labels", labels))
    assert code == 0, log
    undisturbed = table_of(tmp_path / "o").drop_columns("seconds")
    assert undisturbed.equals(table_of(out).drop_columns("seconds"))
    rows = undisturbed.to_pylist()
    assert {row["setting"] for row in rows if row["phase"] == "search"} == set(range(1 + NUM_TRIALS))
    assert len({row["settings"] for row in rows}) > NUM_TRIALS // 2
    config = load_config(None, [f"embeddings={folder / 'e'}", f"evaluate.labels={labels}"])
    samples = tuning_samples(config, RunDir(str(tmp_path / "o")))
    for row in [row for row in rows if row["setting"] in {0, 3, NUM_TRIALS}]:
        select = with_settings(SelectSpec(), json.loads(row["settings"]))
        (expected,) = measure(samples, select, budgets=(0.1,), seed=row["seed"])
        del expected["seconds"]
        assert {key: row[key] for key in expected} == expected

    select = ["select", "--embeddings", str(folder / "e"), "--out", str(tmp_path / "s"), "--print-config"]
    code, resolved, _ = run_here(monkeypatch, capsys, *select, "--config", str(out / "tuned.yaml"))
    assert code == 0
    (tmp_path / "resolved.yaml").write_text(resolved)
    spec = load_config(str(tmp_path / "resolved.yaml")).select
    assert spec.lambda_align == load_config(str(out / "tuned.yaml")).select.lambda_align == SelectSpec().lambda_align


def test_without_labels_a_grid_is_judged_by_coverage_and_what_refuses_is_told(folder, tmp_path, monkeypatch, capsys):
    """Random picks, the present setting, cover far less than those of mmcsal."""
    kinds = "[{kind: mmcsal}, {kind: random}, {kind: k_center, max_pool_size: 20}]"
    grid = [f"tune.space={{select.strategy: {{values: {kinds}}}}}", "tune.search=grid", "tune.early_stop=true"]
    grid += ["select.strategy={kind: random}", "tune.num_check_seeds=16"]
    code, out, told = run_here(monkeypatch, capsys, *arguments_of(folder, tmp_path / "o", *grid))
    assert code == 0, told
    assert "is better than the present one by +" in out
    assert load_config(str(tmp_path / "o" / "tuned.yaml")).select.strategy.kind == "mmcsal"
    assert "there are no labels" in out
    assert "1 settings were refused" in told
    rows = table_of(tmp_path / "o").to_pylist()
    assert all(row["accuracy"] is None for row in rows)
    assert {json.loads(row["settings"])["select.strategy"]["kind"] for row in rows} == {"mmcsal", "random"}


def test_what_cannot_be_tuned_is_told(folder, tmp_path, monkeypatch, capsys):
    for wrong, sentence in (
        (["tune.space={pretrain.epochs: {values: [1]}}"], "only keys of `select` can be tuned"),
        (["select.budget={cost: 3}"], "tune.budgets: select.budget is a total cost"),
        (["tune.search=grid", "tune.space={select.lambda_div: {values: [0.0]}}"], "nothing but the present settings"),
    ):
        code, _, told = run_here(monkeypatch, capsys, *arguments_of(folder, tmp_path / "o", "--redo", "tune", *wrong))
        assert (code, sentence in told) == (2, True), told


def test_the_callback_can_be_saved_though_what_it_shows_on_cannot():
    shown: list[int] = []
    lock = threading.Lock()  # as a terminal, it cannot be pickled

    def show(num_ended: int) -> None:
        with lock:
            shown.append(num_ended)

    trials = [SimpleNamespace(is_finished=lambda: True), SimpleNamespace(is_finished=lambda: False)]
    callback = TrialProgress(show)
    saved = cloudpickle.loads(cloudpickle.dumps(callback))
    saved.on_trial_complete(1, trials, trials[0])
    assert shown == []
    callback.on_trial_complete(1, trials, trials[0])
    assert shown == [1]
