import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S


@pytest.fixture
def run_dir(tmp_path):
    return RunDir(str(tmp_path / "run"))


def table(*values):
    return pa.table({"a": pa.array(values, pa.int64())})


def test_a_part_written_again_replaces_the_first(run_dir):
    run_dir.write_part("t", "part-00000.parquet", table(1, 2))
    run_dir.write_part("t", "part-00000.parquet", table(3))
    assert run_dir.dataset("t").to_table()["a"].to_pylist() == [3]


def test_parts_are_sorted_and_markers_are_no_data(run_dir):
    run_dir.begin("t", {})
    for name in ("part-00001.parquet", "part-00000.parquet"):
        run_dir.write_part("t", name, table(1))
    run_dir.commit("t", {})
    run_dir.write_bytes(b"rubbish", "t", ".part-00002.parquet.tmp")
    assert run_dir.parts("t") == ["part-00000.parquet", "part-00001.parquet"]
    assert ds.dataset(run_dir.path("t"), format="parquet").count_rows() == 2, "plain pyarrow reads the folder"


def test_a_writer_killed_at_any_time_leaves_a_whole_part_or_none(run_dir):
    """Parts of about a megabyte, replaced for ever by a process that is killed: none may be torn."""
    program = f"""
import pyarrow as pa, numpy as np
from mmcsal.storage.rundir import RunDir
run_dir, i = RunDir({run_dir.root!r}), 0
while True:
    run_dir.write_part("t", f"part-{{i % 3:05d}}.parquet", pa.table({{"a": np.random.rand(100_000)}}))
    i += 1
"""
    for attempt in range(5):
        writer = subprocess.Popen([sys.executable, "-c", program])
        deadline = time.monotonic() + TIME_LIMIT_S
        while len(run_dir.parts("t")) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.013 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert run_dir.dataset("t").to_table().num_rows == 300_000


def test_a_folder_that_is_made_while_it_is_listed_is_there_or_not(run_dir):
    """pyarrow looks twice, and once told an error where the folder was made in between."""
    folder, stop = Path(run_dir.path("t")), threading.Event()
    folder.parent.mkdir()

    def come_and_go() -> None:
        while not stop.is_set():
            folder.mkdir()
            folder.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(run_dir.parts("t") == [] for _ in range(20_000))
    finally:
        stop.set()
        thread.join()


def test_a_failed_write_leaves_nothing_behind(run_dir, monkeypatch):
    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        run_dir.write_bytes(b"x", "t", "file")
    assert os.listdir(run_dir.path("t")) == []


def test_files_and_folders_are_told_apart(run_dir):
    assert (run_dir.names("checkpoints"), run_dir.folders("checkpoints", "ray_train")) == ([], [])
    for name in ("best-00001.pt", "best-00000.pt"):
        run_dir.write_bytes(b"1", "checkpoints", name)
    run_dir.write_bytes(b"1", "checkpoints", "ray_train", "epoch-1", "state.pt")
    assert run_dir.names("checkpoints") == ["best-00000.pt", "best-00001.pt"]
    assert run_dir.folders("checkpoints") == ["ray_train"]
    assert run_dir.folders("checkpoints", "ray_train") == ["epoch-1"]
    run_dir.delete_file("checkpoints", "best-00000.pt")
    assert run_dir.names("checkpoints") == ["best-00001.pt"]


def test_markers(run_dir):
    assert run_dir.committed("t") is None
    run_dir.begin("t", {"a": 1})
    assert run_dir.started("t") == {"a": 1}
    assert run_dir.committed("t") is None
    run_dir.commit("t", {"num_rows": 3})
    committed = run_dir.committed("t")
    assert committed is not None
    assert committed["num_rows"] == 3
    assert "committed_at" in committed
    run_dir.clear("t")
    assert run_dir.committed("t") is None
    assert not run_dir.exists("t")


def test_an_empty_table_reads_as_empty(run_dir):
    assert run_dir.dataset("t", table().schema).to_table().num_rows == 0


def test_a_second_driver_is_refused_and_told_which_process_holds_the_run(run_dir):
    with run_dir.locked(), pytest.raises(InputError, match=f"in use by process {os.getpid()}"), run_dir.locked():
        pass


def test_the_lock_of_a_killed_driver_is_free(run_dir):
    program = f"""
import time
from mmcsal.storage.rundir import RunDir
with RunDir({run_dir.root!r}).locked():
    print("locked", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(InputError, match=f"process {holder.pid}"), run_dir.locked():
        pass
    holder.kill()
    holder.wait()
    with run_dir.locked():
        pass


def test_it_travels_to_workers(run_dir):
    copy = pickle.loads(pickle.dumps(run_dir))
    copy.write_bytes(b"x", "file")
    assert run_dir.read_bytes("file") == b"x"


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="nfs99://"):
        RunDir("nfs99://host/run")


def begun(run_dir: RunDir, value: int, *, resume: bool = False) -> RunDir:
    """A stage of two folders that has written a part of each."""
    run_dir.begin("t", {"value": value}, ["side"], resume=resume)
    for folder in ("t", "side"):
        run_dir.write_part(folder, "part-00000.parquet", table(value))
    return run_dir


def seen(run_dir: RunDir) -> tuple[list, list, dict | None]:
    """What another process finds."""
    fresh = RunDir(run_dir.uri)
    found = [fresh.dataset(folder).to_table()["a"].to_pylist() for folder in ("t", "side")]
    return found[0], found[1], (fresh.committed("t") or {}).get("of")


def test_what_was_committed_stays_until_the_next_attempt_is(run_dir):
    begun(run_dir, 1).commit("t", {"of": 1})
    assert seen(run_dir) == ([1], [1], 1)
    begun(RunDir(run_dir.uri), 2)  # fails
    assert seen(run_dir) == ([1], [1], 1)
    assert (RunDir(run_dir.uri).started("t"), RunDir(run_dir.uri).is_complete("t")) == ({"value": 2}, False)
    begun(RunDir(run_dir.uri), 3)  # fails, too
    last = begun(RunDir(run_dir.uri), 4, resume=True)
    assert len(list(Path(run_dir.root, "t").glob("attempt-*"))) == 2, "of attempts that failed the last one is kept"
    assert seen(run_dir) == ([1], [1], 1)
    last.commit("t", {"of": 4})
    assert seen(run_dir) == ([4], [4], 4)
    assert RunDir(run_dir.uri).is_complete("t")
    for folder in ("t", "side"):
        assert len(list(Path(run_dir.root, folder).glob("attempt-*"))) == 1


def test_a_file_that_is_gone_or_another_is_noticed(run_dir):
    begun(run_dir, 1).commit("t", {})
    assert run_dir.changed_content("t") is None
    run_dir.write_part("side", "part-00001.parquet", table(2))
    assert "side holds 2 files of" in (run_dir.changed_content("t") or "")
    assert run_dir.changed_content("t", may_grow=True) is None
    run_dir.delete_file("side", "part-00001.parquet")
    assert run_dir.changed_content("t") is None
    run_dir.write_part("t", "part-00000.parquet", table(*range(100)))
    assert "t holds 1 files of" in (run_dir.changed_content("t", may_grow=True) or "")
    run_dir.delete_file("t", "part-00000.parquet")
    assert "t holds 0 files of 0 bytes, and 1 files" in (run_dir.changed_content("t") or "")


@pytest.mark.parametrize("place", ["t", "t/attempt", "t/attempt/part-00000.parquet", "file"])
def test_no_link_is_followed_out_of_the_directory(run_dir, tmp_path, place):
    begun(run_dir, 1).commit("t", {})
    run_dir.write_bytes(b"x", "file")
    (attempt,) = Path(run_dir.root, "t").glob("attempt-*")
    moved = Path(run_dir.root, place.replace("attempt", attempt.name))
    moved.rename(tmp_path / "outside")
    moved.symlink_to(tmp_path / "outside")
    before = [p.read_bytes() for p in sorted((tmp_path / "outside").rglob("*")) if p.is_file()]
    fresh = RunDir(run_dir.uri)
    is_file = place == "file"
    for use in (
        lambda: fresh.read_bytes("file") if is_file else fresh.dataset("t").to_table(),
        lambda: fresh.write_bytes(b"y", "file") if is_file else begun(fresh, 2, resume=True),
    ):
        with pytest.raises(InputError, match="links in a run directory are not followed"):
            use()
    assert [p.read_bytes() for p in sorted((tmp_path / "outside").rglob("*")) if p.is_file()] == before


def test_files_that_keep_their_paths_follow_no_link_and_what_was_complete_stays_so(run_dir, tmp_path):
    run_dir.begin_in_place("report", {})
    run_dir.write_bytes(b"page", "report", "report.html")
    run_dir.commit("report", {})
    (tmp_path / "outside").write_bytes(b"as it was")
    Path(run_dir.root, "report", "list.csv").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="links in a run directory are not followed"):
        run_dir.begin_in_place("report", {})
    assert run_dir.committed("report") is not None
    assert (tmp_path / "outside").read_bytes() == b"as it was"


def test_the_directory_itself_may_be_a_link(run_dir, tmp_path):
    begun(run_dir, 1).commit("t", {})
    (tmp_path / "link").symlink_to(run_dir.root)
    assert seen(RunDir(str(tmp_path / "link"))) == ([1], [1], None)


@pytest.mark.parametrize("name", ["file", "t/_STARTED.json"])
def test_a_pipe_is_not_waited_for(run_dir, name):
    Path(run_dir.root, "t").mkdir(parents=True)
    os.mkfifo(Path(run_dir.root, name))
    with pytest.raises(InputError, match="no regular file"):
        _ = run_dir.read_bytes("file") if name == "file" else run_dir.started("t")
