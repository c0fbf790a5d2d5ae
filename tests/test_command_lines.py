"""Command lines as fingers slip: no traceback, no code that is not documented, and nothing that is there changes."""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcsal.cli import app, main
from mmcsal.config import RunConfig, load_config, to_yaml
from mmcsal.config_source import _dotted_keys
from mmcsal.contracts.embedding import vector_column
from mmcsal.distributed.run.status import Status
from mmcsal.storage.rundir import RunDir

NUM_EXAMPLES = int(os.environ.get("MMCSAL_FUZZ_EXAMPLES", "120"))
COMMANDS = sorted(c.name or c.callback.__name__ for c in app.registered_commands if c.callback is not None)
OPTIONS = ["--corpus", "--labels", "--embeddings", "--budget", "--out", "--config", "--run-dir", "--redo", "--nonsense"]
KEYS = [*sorted(set(_dotted_keys(RunConfig))), "select.budget.cost", "buget", "a.b", "select..budget", ".", "run_dir.x"]
# fmt: off
SLIPS = [
    "", " ", "1:30", "010", "1_000", "0x10", "-1", "0", "0.5", "1e400", ".nan", ".inf", "9" * 30, "1.0", "48", "500",
    "cost=", "cost=1:30", "no", "null", "~", "true", "[]", "{}", "[1", "[[[[", "{a: 1, a: 2}", "x:", "x: y", "- a",
    "&a [*a]", "*x", "!!set {a}", "!!python/object/apply:os.getcwd []", "p1 #2", "#x", "'", '"', "\\", "\u202e", "a\nb",
    "\x1b[2J", "\ud83d", "a\tb", "s3://KEY:s3cr3t@bucket/x", "http://KEY:s3cr3t@host", "s3://", "gs:///x", "ftp://h/x",
    "file:///no", "r", "e", ".", "labels.csv", "ids.txt", "pipe", "nowhere", "nowhere.csv", "c.yaml", "broken.yaml",
    "select", "embd", "badge", "{kind: badge}", "{kind: random}", "[nowhere]", "[{column: x, value: y}]", "{cost: 0}",
    "127.0.0.1:1", "nonsense", "auto", "{kind: folder, path: nowhere}", "{kind: synthetic, path: e}", "h:99999",
    "[cold_start]", "../../x", "/dev/zero", "/proc/self/mem",
]
# fmt: on
values = st.one_of(st.sampled_from(SLIPS), st.text(st.characters(exclude_characters="\0"), max_size=8))
overrides = st.one_of(st.builds("{}={}".format, st.sampled_from(KEYS), values), values)
options = st.one_of(
    st.tuples(st.sampled_from(OPTIONS), values),
    st.sampled_from([("--check",), ("--print-config",), ("--run-dir", "r")]),
)
lines = st.tuples(st.sampled_from(COMMANDS), st.lists(options, max_size=4), st.lists(overrides, max_size=3)).map(
    lambda line: [line[0], *(word for option in line[1] for word in option), *line[2]]
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with embeddings, labels, and a run that has selected from them."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "e").mkdir()
    vectors_ND = np.eye(24, 8, dtype=np.float32) + 0.1
    columns = {"video_embedding": vector_column(vectors_ND), "audio_embedding": vector_column(vectors_ND)}
    pq.write_table(pa.table({"sample_id": [f"s{i}" for i in range(24)], **columns}), root / "e" / "0.parquet")
    (root / "labels.csv").write_text("sample_id,label\ns1,x\ns2,y\n")
    (root / "ids.txt").write_text("s1\ns2\n")
    (root / "c.yaml").write_text("select: {budget: 3}\n")
    (root / "broken.yaml").write_text("a: [1\n")
    os.mkfifo(root / "pipe")
    run_dir = RunDir(str(root / "r"))
    config = load_config(None, [f"embeddings={root / 'e'}", f"run_dir={root / 'r'}", "select.budget=3"])
    run_dir.write_bytes(to_yaml(config).encode(), "config.yaml")
    run_dir.begin("selection", {"select": "of another time"})
    run_dir.write_part("selection", "part-00000.parquet", pa.table({"sample_id": ["s1", "s2", "s3"]}))
    run_dir.commit("selection", {"settings": {"select": "of another time"}, "digest": "x"})
    Status(run_dir).finish("done", 0)
    return root


def tree_of(root: Path) -> str:
    """A digest of all that lies there."""
    files = sorted(root.rglob("*"))
    content = [(str(path), path.read_bytes() if path.is_file() else b"") for path in files]
    return hashlib.blake2b(repr(content).encode()).hexdigest()


@pytest.fixture
def tell(place, monkeypatch, capsys):
    """Runs a command line; what `--check` refuses is refused without it, before Ray would start and be seen."""
    monkeypatch.chdir(place)
    before = tree_of(place)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["mmcsal", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        code = int(end.value.code or 0)
        assert code in (0, 2, 4), told.err
        assert "Traceback" not in told.err
        assert "s3cr3t" not in told.out + told.err
        if code:
            *_, last = told.err.splitlines()
            assert last.startswith("mmcsal: error: ") or told.err.startswith("Usage: "), told.err
        assert tree_of(place) == before
        return code

    def run_both(line: list[str]) -> None:
        if line[0] == "status":
            run(*line)
            return
        code = run(*line, "--check")
        if code:
            assert run(*(word for word in line if word != "--check")) == code

    return run_both


@settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    derandomize="MMCSAL_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=lines)
def test_slips_are_told_in_a_line_and_change_nothing(tell, line):
    tell(line)


@pytest.mark.parametrize("slipped", ["--corpus", "--run-dir", "--config", "seed=", "select.include=", "corpus="])
def test_each_slip_alone_is_told_in_a_line_and_changes_nothing(tell, slipped):
    """Of several slips in a line the first that is found hides the others."""
    for slip in SLIPS:
        words = [slipped + slip] if slipped.endswith("=") else [slipped, slip]
        command = ["ingest"] if "corpus" in slipped else ["select", "--embeddings", "e", "--budget", "3"]
        tell([*command, *([] if slipped == "--run-dir" else ["--run-dir", "r"]), *words])


@pytest.mark.parametrize("name", ["p1 #2", "no", "x:", "1:30", "[1", "{a: 1, a: 2}", "a, b", "#x"])
def test_an_option_means_what_is_typed(place, monkeypatch, capsys, name):
    monkeypatch.chdir(place)
    given_to = {"corpus": "--corpus", "run_dir": "--run-dir"}
    words = ["run", "--print-config", *(word for option in given_to.values() for word in (option, name))]
    monkeypatch.setattr(sys, "argv", ["mmcsal", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    told = yaml.safe_load(capsys.readouterr().out)
    assert os.path.abspath(told["run_dir"]) == told["corpus"]["path"] == str(place / name)
