"""The command as a user meets it: every bad input ends with its exit code and one line that says what to do."""

import inspect
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mmcsal.cli import Options, app, main
from mmcsal.config import RunConfig
from mmcsal.distributed.run.status import Status
from mmcsal.storage.rundir import RunDir

JOBS = Path(__file__).parents[1] / "jobs"
# What takes a second and more to import, or brings along what does.
SLOW = "torch ray numba scipy scipy.stats pandas matplotlib av decord pyarrow.dataset mmcsal.config mmcsal.selection"
# Runs the command with the arguments behind it; the last line names what of SLOW was imported meanwhile.
TELLING_IMPORTS = f"""
import atexit, sys
slow = set({SLOW.split()!r})
atexit.register(lambda: print("imported:", *sorted(slow & set(sys.modules))))
from mmcsal.cli import Options, app, main
main()
"""


@dataclass
class Done:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def mmcsal(capsys, tmp_path, monkeypatch):
    """Runs the command in this process, in an empty folder: importing torch anew for each test would take minutes."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(mmcsal):
    """The one line that a command ends with when it refuses."""

    def run(*arguments: str, code: int = 2) -> str:
        done = mmcsal(*arguments)
        assert done.code == code, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("mmcsal: error: ")
        assert "Traceback" not in done.stderr
        return last

    return run


@pytest.fixture
def imports(tmp_path):
    """What a command prints, and which of the slow modules it imports."""

    def run(*arguments: str, before: str = "") -> tuple[str, list[str]]:
        program = [sys.executable, "-c", before + TELLING_IMPORTS, *arguments]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
        *told, last = done.stdout.splitlines()
        name, *imported = last.split()
        assert name == "imported:", done
        return "\n".join(told) + done.stderr, imported

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--help", "Commands:"),
        ("run --help", "--corpus"),
        ("next-round --help", "--labels"),
        ("status --run-dir nowhere", "no status.json"),
        ("status --run-dir nowhere storage.lease_s=9", "no status.json"),
        ("run --corpus nowhere", "nowhere' does not exist"),
        ("ingest --corpus nowhere.csv", "nowhere.csv' does not exist"),
        ("run --corpus nowhere --config there.yaml seed=3", "nowhere' does not exist"),
        ("select --embeddings nowhere --budget 3 --out o", "nowhere' does not exist"),
        ("evaluate --embeddings nowhere --out o", "nowhere' does not exist"),
        ("tune --check --embeddings nowhere --out o", "nowhere' does not exist"),
        ("select --config nowhere.yaml", "config file 'nowhere.yaml' cannot be read"),
        ("run storage.max_attempst=3", "did you mean 'storage.max_attempts'"),
    ],
)
def test_help_status_and_wrong_paths_answer_before_anything_slow_is_imported(imports, tmp_path, arguments, told):
    (tmp_path / "there.yaml").write_text("media: {window_s: 2.0}\n")
    text, imported = imports(*arguments.split())
    assert told in text
    assert imported == []
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"], "nothing is written"


def test_the_status_of_a_run_is_told_before_anything_slow_is_imported(imports, tmp_path):
    Status(RunDir(str(tmp_path / "r"))).finish("done", 0)
    assert imports("status", "--run-dir", "r")[1] == []


def test_a_run_is_planned_before_anything_that_draws_or_does_statistics_is_imported(imports):
    """Most commands never get there: a selection would wait longer for them than for its answer."""
    told, imported = imports("run", "--check", "--corpus", "/videos")
    assert "report    will run" in told
    assert {"ray", "torch"} <= set(imported)
    assert not {"scipy.stats", "matplotlib"} & set(imported)


def test_slow_imports_would_be_seen(imports):
    assert "pyarrow.dataset" in imports("--help", before="import pyarrow.dataset")[1]


def test_a_corpus_that_is_gone_does_not_stop_a_run_that_has_its_manifest(mmcsal, tmp_path):
    """Told by what comes after: the manifest that is there is of other settings than these."""
    RunDir(str(tmp_path / "r")).begin("manifest", {"corpus": "another"})
    RunDir(str(tmp_path / "r")).commit("manifest", {"settings": {"corpus": "another"}, "digest": ""})
    done = mmcsal("run", "--corpus", "nowhere", "--run-dir", "r")
    assert "does not exist" not in done.stderr
    assert "--redo manifest" in done.stderr


def test_options_are_declared_once_and_commands_take_one_argument():
    for command in app.registered_commands:
        assert command.callback is not None
        declared = inspect.signature(command.callback).parameters
        assert set(declared) <= set(Options.__dataclass_fields__)
        assert list(declared) == [name for name in Options.__dataclass_fields__ if name in declared], "in one order"


def test_a_corpus_that_is_not_there(refused):
    assert "no_such_folder" in refused("run", "--corpus", "no_such_folder")


def test_an_empty_corpus(refused, tmp_path):
    (tmp_path / "videos").mkdir()
    message = refused("run", "--corpus", "videos")
    assert "videos" in message
    assert ".mp4" in message


def test_after_a_wrong_path_the_right_one_is_taken(refused, tmp_path):
    refused("run", "--corpus", "wrong")
    (tmp_path / "right").mkdir()
    assert "right" in refused("run", "--corpus", "right")


def test_no_corpus_at_all(refused):
    assert "--corpus" in refused("run")


def test_an_unknown_key(refused):
    assert "did you mean 'select.budget'" in refused("run", "--check", "select.buget=3")


def test_a_stage_before_its_input(refused):
    assert "run `mmcsal ingest " in refused("embed", "--run-dir", "r")


def test_embeddings_that_are_not_there(refused):
    message = refused("select", "--embeddings", "none", "--budget", "3", "--out", "o")
    assert "none' does not exist" in message


def test_embeddings_without_a_place_for_the_result(refused):
    assert "--out" in refused("select", "--embeddings", "e")


def test_more_workers_than_the_machine_can_ever_give(refused):
    arguments = ["run", "--check", "pretrain.num_workers=4", "cluster.num_cpus=2"]
    assert "pretrain.num_workers=2" in refused(*arguments, code=4)
    assert "pretrain.min_workers=2" in refused(*arguments, "pretrain.min_workers=4", code=4)


def test_a_redo_of_an_unknown_stage(refused):
    assert "--redo 'embd'" in refused("run", "--redo", "embd")


def test_status_of_no_run(refused):
    assert "no status.json" in refused("status", "--run-dir", "r")


def test_status_tells_a_killed_run_from_a_running_one(mmcsal, tmp_path):
    run_dir = RunDir(str(tmp_path / "r"))
    Status(run_dir).update_stage("ingest", state="running", num_done=3, write=True)
    with run_dir.locked():
        assert mmcsal("status", "--run-dir", "r").stdout.startswith("running")
    done = mmcsal("status", "--run-dir", "r")
    assert done.stdout.startswith("stopped")
    assert "num_done 3" in done.stdout


@pytest.mark.parametrize("name", ["p1 #2", "123", "no", "x:", "1:30", "[a]", "it's mine: {2024}", "- list"])
def test_a_run_directory_is_called_what_is_typed(mmcsal, name):
    done = mmcsal("run", "--print-config", "--run-dir", name)
    assert yaml.safe_load(done.stdout)["run_dir"] == name
    assert name in mmcsal("run", "--check", "--corpus", "/videos", "--run-dir", name).stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("run|--run-dir|", "--run-dir is empty"),
        ("run|--corpus| ", "--corpus is empty"),
        ("select|--embeddings|", "--embeddings is empty"),
        ("run|--config|", "--config is empty"),
        ("run|--run-dir|a\nb", "control characters"),
        ("run|run_dir=p1 #2", "behind # is a comment to YAML"),
        ("run|seed=" + "9" * 26, "seed: 999"),
        ("run|seed=5000000000", "seed: Input should be less than or equal to 4294967295"),
        (
            "run|select.include=3",
            "select.include: Input should be a valid tuple, or Input should be a valid string, got 3",
        ),
        ("run|evaluate.groups=[]", "without 'random'"),
        ("run|cluster.address=nonsense", "expected HOST:PORT"),
        ("run|cluster.address=h:99999", "expected HOST:PORT"),
        ("run|--corpus|s3://k:hidden@bucket/x", "corpus: 's3://***@bucket/x' carries"),
        ("run|--run-dir|s3://k:hidden@bucket/x", "'s3://***@bucket/x' carries"),
        ("run|storage.endpoint_url=http://k:hidden@host", "storage.endpoint_url: 'http://***@host' carries"),
        ("run|corpus=ftp://h/x?token=hidden", "corpus: 'ftp://h/x?token=***' carries"),
        ("status|select.budget=3", "status takes overrides of storage.* alone"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(refused, tmp_path, arguments, told):
    command, *rest = arguments.split("|")
    message = refused(command, *rest, *(["--check"] if command != "status" else []))
    assert told in message
    assert "hidden" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"state": "done", "stages": {"a": 3}}'])
def test_a_status_that_nobody_wrote_is_told(refused, tmp_path, content):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "status.json").write_text(content)
    assert "status.json is not what mmcsal has written" in refused("status", "--run-dir", "r")


def test_what_a_status_says_is_nothing_that_a_terminal_obeys(mmcsal, tmp_path):
    status = Status(RunDir(str(tmp_path / "r")))
    status.finish("failed", 2, "a\x1b[2J\nb http://k:hidden@host")
    assert mmcsal("status", "--run-dir", "r").stdout.splitlines()[0].endswith("a?[2J b http://***@host")


@pytest.mark.parametrize("name", ["it's mine: {2024}", "#1", "- list"])
def test_a_path_of_awkward_characters_is_taken_as_it_is(mmcsal, tmp_path, name):
    done = mmcsal("run", "--print-config", "--corpus", name)
    assert yaml.safe_load(done.stdout)["corpus"]["path"] == str(tmp_path / name)


def test_an_unknown_option_is_bad_input(mmcsal):
    assert mmcsal("run", "--corpsu", "x").code == 2


def test_check_prints_the_plan_and_writes_nothing(mmcsal, tmp_path):
    done = mmcsal("run", "--check", "--corpus", "/videos")
    assert done.code == 0, done.stderr
    for stage in ("manifest", "ingest", "pretrain", "embed", "select", "report"):
        assert f"{stage:<9} will run" in done.stdout
    assert "resources" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_print_config_prints_what_would_be_run(mmcsal, tmp_path):
    done = mmcsal("run", "--print-config", "--budget", "0.1", "pretrain.epochs=2")
    config = RunConfig.model_validate(yaml.safe_load(done.stdout))
    assert (config.select.budget, config.pretrain.epochs) == (0.1, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_total_cost_is_a_budget_too(mmcsal, tmp_path):
    """Whatever kind of budget the file holds, the one of the command line takes its place."""
    (tmp_path / "c.yaml").write_text("select: {budget: 7}\n")
    done = mmcsal("run", "--print-config", "--config", "c.yaml", "--budget", "cost=2.5")
    assert yaml.safe_load(done.stdout)["select"]["budget"] == {"cost": 2.5}
    (tmp_path / "c.yaml").write_text(done.stdout)
    done = mmcsal("select", "--print-config", "--config", "c.yaml", "--budget", "9")
    assert yaml.safe_load(done.stdout)["select"]["budget"] == 9


@pytest.mark.parametrize(
    "budget",
    ["0", "1.0", "many", "cost=0", "cost=many", "hours=3", "1:30", "010", "1_000", "0x10", "-1", "1e2", "cost=1:30"],
)
def test_an_impossible_budget(refused, budget):
    message = refused("select", "--check", "--budget", budget)
    assert "select.budget: " in message
    assert "expected a count" in message
    assert not re.search("Spec|TotalCost|constrained|function", message), "names of classes"


@pytest.mark.parametrize("job", sorted(path.name for path in JOBS.glob("[a-z]*.py")))
def test_each_job_stands_for_a_command(job, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [job, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(JOBS / job), run_name="__main__")
    assert not stop.value.code
    assert "--run-dir" in capsys.readouterr().out
