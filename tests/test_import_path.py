"""A Python file beside the videos is never imported: not by the command, not by its workers, not by its decoder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcsal.import_path import CODE, is_trusted
from tests.helpers import TIME_LIMIT_S, write_timed_clip

COMMAND = Path(sys.executable).with_name("mmcsal")
TRAPS = ("decord", "av", "math", "json", "numpy", "pyarrow", "ray", "mmcsal", "typing", "torch", "sitecustomize")


def test_the_working_folder_is_not_trusted_under_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not any(map(is_trusted, ("", ".", "other", str(tmp_path), f"{tmp_path}/", f"{tmp_path}/x/..")))
    assert is_trusted("/usr/lib/python3")


def test_a_checkout_is_trusted_where_it_is_the_working_folder(monkeypatch):
    monkeypatch.chdir(CODE)
    assert is_trusted("")
    assert is_trusted(CODE)


@pytest.mark.cluster
@pytest.mark.parametrize(
    "command", [[str(COMMAND), "ingest"], [sys.executable, f"{CODE}/jobs/ingest_clips.py"]], ids=["mmcsal", "job"]
)
def test_python_files_beside_the_videos_do_not_run(command, tmp_path):
    corpus, run_dir = tmp_path / "corpus", tmp_path / "run"
    corpus.mkdir()
    write_timed_clip(corpus / "a.mp4", 2.0)
    for name in TRAPS:
        (corpus / f"{name}.py").write_text(f"import os; os.mkdir('{tmp_path}/ran-{name}-' + str(os.getpid()))")
    arguments = ["--corpus", ".", "--run-dir", str(run_dir), "media={window_s: 2.0, num_frames: 2, frame_size_px: 32}"]
    done = subprocess.run(
        [*command, *arguments, "cluster.num_cpus=1"],
        cwd=corpus,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ran-")] == []
    assert "clips 1" in done.stderr
