import errno
import json
import subprocess
import sys

import pytest

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.distributed.workers.map_partitions import PartitionWorker, raise_error_in


class Worker(PartitionWorker):
    """Fails at the partitions that it is given errors for."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors, self.done = errors, []

    def run(self, part: str) -> None:
        if part in self.errors:
            raise self.errors[part]
        self.done.append(part)


def receipts(worker: Worker, *parts: str) -> list[dict]:
    batch = worker({"part": list(parts)})
    return [{"part": part, "error": error} for part, error in zip(batch["part"], batch["error"], strict=True)]


@pytest.mark.parametrize(
    "error",
    [
        InputError("bad embeddings"),
        TableError("bad column"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("AWS Error NETWORK_CONNECTION"),
    ],
)
def test_what_a_worker_says_is_wrong_is_raised_as_it_was(error):
    """Ray Data would hand on its text alone, and nobody could tell a full disk from a lost node."""
    worker = Worker({"b": error})
    good, bad, after = receipts(worker, "a", "b", "c")
    raise_error_in(good)
    raise_error_in(after)
    with pytest.raises(type(error)) as raised:
        raise_error_in(json.loads(json.dumps(bad)))
    assert raised.value.args == error.args
    assert worker.done == ["a", "c"]


def test_a_defect_is_left_to_ray_with_its_trace():
    with pytest.raises(ZeroDivisionError):
        receipts(Worker({"a": ZeroDivisionError()}), "a")


def test_decoders_start_without_torch_and_the_configuration():
    """Each of their processes would hold some hundred megabytes more."""
    code = "import sys, mmcsal.distributed.workers.ingest; print({'torch', 'mmcsal.config'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
