"""The whole pipeline with media and run directory on a store that fails: the same selection as on a local disk."""

import signal
import time

import pyarrow as pa
import pytest

from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec
from tests.helpers import TIME_LIMIT_S
from tests.object_store.server import FaultyProxy
from tests.pipeline import BUDGET, SETTINGS, SLOW_TO_HEAR, finish, start

pytestmark = pytest.mark.cluster
BUCKET = "pipeline"


def selection(run_dir: RunDir) -> pa.Table:
    return run_dir.dataset("selection").to_table().drop_columns("uri")


@pytest.fixture(scope="module")
def failing(s3, corpus):
    """A proxy that fails one request in twenty, and the clips in a bucket behind it."""
    s3.create_bucket(BUCKET)
    for path in (corpus / "clips").iterdir():
        with s3.filesystem().open_output_stream(f"{BUCKET}/clips/{path.name}") as stream:
            stream.write(path.read_bytes())
    with FaultyProxy(s3.url, error_share=0.05, seed=1) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def disturbed(failing):
    """The run on the store: its driver is killed in training, then the same command goes on."""
    run_dir = RunDir(f"s3://{BUCKET}/run", StorageSpec(endpoint_url=failing.url))
    arguments = ["run", "--corpus", f"s3://{BUCKET}/clips/", "--budget", str(BUDGET), "--run-dir", run_dir.uri]
    arguments += [*SETTINGS, "cluster.num_cpus=2", f"storage.endpoint_url={failing.url}"]
    first = start(*arguments, environment=SLOW_TO_HEAR)
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while len(run_dir.parts("metrics")) < 2 and first.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    told, _ = first.communicate()
    assert run_dir.committed("checkpoints") is None, f"training was over before the kill: {told}"
    return run_dir, finish(start(*arguments))


def test_the_selection_is_that_of_a_local_run_though_the_store_fails_and_the_driver_is_killed(
    disturbed, failing, undisturbed
):
    run_dir, output = disturbed
    assert selection(run_dir).equals(selection(RunDir(str(undisturbed))))
    assert output.count("committed already") == 2, output
    assert "pretrain: resumed" in output
    operations = {operation for _, operation in failing.injected}
    assert failing.num_injected > 10
    assert operations & {"GetObject"}
    assert operations & {"PutObject", "UploadPart"}
    assert operations & {"ListObjects", "HeadObject"}
    rejects = run_dir.dataset("rejects").to_table().to_pylist()
    assert len(rejects) == 8
    assert all(row["uri"].startswith(f"s3://{BUCKET}/clips/") and "/proc/" not in row["detail"] for row in rejects)


def test_other_commands_read_the_store(mmcsal_here, disturbed, failing):
    run_dir, _ = disturbed
    endpoint = f"storage.endpoint_url={failing.url}"
    assert mmcsal_here("status", "--run-dir", run_dir.uri, endpoint).startswith("done")
    assert "report: committed already" in mmcsal_here("report", "--run-dir", run_dir.uri, endpoint)
    out = RunDir(f"s3://{BUCKET}/out", run_dir.storage)
    embeddings = f"s3://{run_dir.path('embeddings')}"
    mmcsal_here("select", "--embeddings", embeddings, "--out", out.uri, "--budget", str(BUDGET), endpoint)
    assert selection(out).equals(selection(run_dir))
