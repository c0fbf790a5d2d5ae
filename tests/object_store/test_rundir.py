"""A run directory on an object store: what holds on a local disk by rename and locks holds here by attempts."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from mmcsal.storage.parquet_files import read_footers
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec
from mmcsal.training.data.clip_file import read_columns


@pytest.fixture
def open_run(proxy, bucket) -> Callable[[], RunDir]:
    return lambda: RunDir(f"s3://{bucket}/deep/run", StorageSpec(endpoint_url=proxy.url))


def rows(*values: int) -> pa.Table:
    return pa.table({"a": list(values)})


def values(run_dir: RunDir, folder: str = "clips") -> list[int]:
    return sorted(run_dir.dataset(folder).to_table()["a"].to_pylist())


def test_tables_markers_names_and_folders(open_run):
    run_dir = open_run()
    assert (run_dir.names("clips"), run_dir.folders("clips"), run_dir.parts("clips")) == ([], [], [])
    run_dir.begin("clips", {"x": 1}, ["rejects"])
    assert open_run().started("clips") == {"x": 1}
    run_dir.write_part("clips", "part-00000.parquet", rows(1, 2))
    run_dir.write_part("clips", "part-00001.parquet", rows(3))
    run_dir.write_part("clips", "part-00001.parquet", rows(4))
    run_dir.write_bytes(b"state", "clips", "sub", "folder", "state.pt")
    assert run_dir.read_part("clips", "part-00001.parquet")["a"].to_pylist() == [4]
    assert run_dir.dataset("rejects", rows(1).schema).count_rows() == 0
    assert run_dir.committed("clips") is None
    run_dir.commit("clips", {"num_rows": 3})
    reader = open_run()
    assert reader.committed("clips")["num_rows"] == 3
    assert values(reader) == [1, 2, 4]
    assert reader.names("clips") == ["_COMMITTED.json", "part-00000.parquet", "part-00001.parquet"]
    assert reader.folders("clips", "sub") == ["folder"]
    reader.delete_file("clips", "part-00000.parquet")
    assert reader.parts("clips") == ["part-00001.parquet"]
    reader.clear("clips")
    assert (reader.exists("clips"), reader.committed("clips"), reader.parts("clips")) == (False, None, [])


def test_a_resumed_stage_goes_on_with_its_parts_and_a_new_attempt_with_none(open_run, s3, bucket):
    first = open_run()
    first.begin("clips", {}, ["rejects"])
    first.write_part("clips", "part-00000.parquet", rows(1))
    resumed = open_run()
    resumed.begin("clips", {}, ["rejects"], resume=True)
    assert resumed.parts("clips") == ["part-00000.parquet"]
    fresh = open_run()
    fresh.begin("clips", {}, ["rejects"])
    assert fresh.parts("clips") == []
    infos = s3.filesystem().get_file_info(pa.fs.FileSelector(f"{bucket}/deep/run/clips", recursive=True))
    assert [info.base_name for info in infos if info.is_file] == ["_STARTED.json"]


def test_a_writer_of_an_older_attempt_that_is_still_alive_spoils_nothing(open_run, proxy, bucket):
    old = open_run()
    old.begin("clips", {}, ["rejects"])
    zombie = pickle.loads(pickle.dumps(old))
    new = open_run()
    new.begin("clips", {}, ["rejects"])
    zombie.write_part("clips", "part-00000.parquet", rows(666))
    new.write_part("clips", "part-00000.parquet", rows(1))
    new.write_part("clips", "part-00001.parquet", rows(2))
    zombie.write_part("clips", "part-00001.parquet", rows(667))
    zombie.write_part("clips", "part-00002.parquet", rows(668))
    zombie.commit("clips", {})
    assert open_run().committed("clips") is None
    new.commit("clips", {"of": "new"})
    assert values(new) == values(open_run()) == [1, 2]
    plain = ds.dataset(f"{bucket}/deep/run/clips", filesystem=new.filesystem, format="parquet")
    assert sorted(plain.to_table()["a"].to_pylist()) == [1, 2]
    zombie.write_part("clips", "part-00000.parquet", rows(669))
    assert values(open_run()) == [1, 2]
    assert open_run().committed("clips")["of"] == "new"


def test_large_parts_go_up_in_pieces_through_failures(open_run, proxy):
    proxy.error_share = 0.2
    big = pa.table({"a": np.random.default_rng(0).random(3_000_000)})  # 24 MB that do not compress
    run_dir = open_run()
    run_dir.begin("clips", {})
    run_dir.write_part("clips", "part-00000.parquet", big)
    assert proxy.requests["UploadPart"] >= 2
    assert proxy.num_injected
    assert run_dir.read_part("clips", "part-00000.parquet").equals(big)


def test_retries_travel_with_it_to_workers(open_run, proxy):
    run_dir = pickle.loads(pickle.dumps(open_run()))
    run_dir.begin("clips", {})
    copy = pickle.loads(pickle.dumps(run_dir))
    proxy.error_share = 0.3

    def write(i: int) -> None:
        copy.write_part("clips", f"part-{i:05d}.parquet", rows(i))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert proxy.num_injected >= 10
    assert values(copy) == list(range(24))


def test_an_outage_does_not_use_up_the_retries_of_what_comes_after_it(open_run, proxy):
    """The SDK's "standard" strategy has a quota: after an outage, one failing answer ended a request."""
    run_dir = open_run()
    run_dir.write_bytes(b"x", "file")
    proxy.outage(4.0)
    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(lambda _: run_dir.exists("file"), range(24)))
    proxy.error_share = 0.4
    assert all(run_dir.exists("file") for _ in range(30))


def test_small_files_are_read_through_failures(open_run, proxy):
    run_dir = open_run()
    run_dir.write_bytes(b"{}", "small.json")
    proxy.error_share = 0.3
    assert [run_dir.read_json("small.json") for _ in range(20)] == [{}] * 20
    assert proxy.injected["500", "GetObject"] + proxy.injected["503", "GetObject"] > 2


def test_an_outage_while_tables_are_read_is_no_damaged_table(bucket, proxy):
    """What is told to the reader ends the run; a loss is tried again."""
    run_dir = RunDir(f"s3://{bucket}/run", StorageSpec(endpoint_url=proxy.url, max_attempts=2))
    run_dir.write_part("clips", "part-00000.parquet", rows(1))
    path = run_dir.path("clips", "part-00000.parquet")
    proxy.outage(600)
    for read in (
        lambda: read_columns(path, run_dir.filesystem, ["a"]),
        lambda: read_footers([path], run_dir.filesystem),
    ):
        with pytest.raises(OSError, match="AWS Error"):
            read()


def test_a_file_is_there_whole_or_not_at_all(open_run, proxy):
    run_dir = RunDir(open_run().uri, StorageSpec(endpoint_url=proxy.url, max_attempts=2))
    run_dir.write_bytes(b"old", "file")
    proxy.outage(600)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        run_dir.write_bytes(os.urandom(12 << 20), "file")
    proxy.outage(0)
    assert run_dir.read_bytes("file") == b"old"
