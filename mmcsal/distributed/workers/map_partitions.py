"""Runs one worker class over the partitions of a table with Ray Data.

A worker commits its partition itself, whole or not at all, and hands back a small receipt. So no row passes
through the driver, a retried task writes the same file again, and a killed run goes on with the partitions that
are not there yet. Workers import their base from here: neither torch nor config is loaded.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

from mmcsal.contracts.errors import InputError, MmcsalError, RejectLimitError, ResourceError, TableError
from mmcsal.contracts.progress import Progress
from mmcsal.storage.rundir import RunDir

# What a worker may say is wrong with its partition, beside an OSError.
KINDS = {kind.__name__: kind for kind in (InputError, MmcsalError, RejectLimitError, ResourceError, TableError)}


class PartitionWorker(ABC):
    """Made once in each actor, then called with one partition after another."""

    @abstractmethod
    def run(self, part: str) -> None:
        """Does the work of a partition and commits it.

        Raises:
            MmcsalError, OSError: come out of `raise_error_in` in the driver.
        """

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A receipt for each partition, with what is wrong: Ray Data keeps only the text of what it sees raised."""
        errors = [self._error_of(str(part)) for part in batch["part"]]
        return {"part": batch["part"], "error": np.array(errors, dtype=object)}

    def _error_of(self, part: str) -> str:
        try:
            self.run(part)
        except (MmcsalError, OSError) as error:
            return _told(error)
        return ""


def pending_parts(run_dir: RunDir, folder: str) -> list[str]:
    """Parts of the manifest whose counterpart in `folder` is not committed yet."""
    done = set(run_dir.parts(folder))
    return [name for name in run_dir.parts("manifest") if name not in done]


def run_partitions(
    run_dir: RunDir,
    folder: str,
    worker: type[PartitionWorker],
    constructor: dict[str, Any],
    *,
    num_workers: int,
    use_gpu: bool = False,
    progress: Progress,
) -> None:
    """Runs `worker` on every pending partition; returns when all are committed.

    Args:
        folder: the table that the worker writes; its committed parts are left out.
        worker: the class, and the keyword arguments it is made with.
        constructor: see `worker`.
        num_workers: actors at a time, of one CPU each.
        use_gpu: each holds a GPU, too.

    Raises:
        MmcsalError, OSError: what the worker raised, of the first partition that failed.
    """
    pending = pending_parts(run_dir, folder)
    num_total = len(run_dir.parts("manifest"))
    num_done = num_total - len(pending)
    progress(num_done, num_total)
    if not pending:
        return
    num_actors = min(num_workers, len(pending))
    # One block a partition, so that one task writes one file; nothing is read before a worker asks for it.
    items = ray.data.from_items([{"part": name} for name in pending], override_num_blocks=len(pending))
    receipts = items.map_batches(
        worker,
        fn_constructor_kwargs=constructor,
        batch_size=1,
        num_cpus=1,
        num_gpus=1 if use_gpu else None,
        compute=ActorPoolStrategy(min_size=1, max_size=num_actors, initial_size=num_actors),
    )
    for receipt in receipts.iter_rows():
        raise_error_in(receipt)
        num_done += 1
        progress(num_done, num_total)


def raise_error_in(receipt: dict[str, Any]) -> None:
    """Raises what a worker said is wrong with its partition."""
    if receipt["error"]:
        kind, arguments = json.loads(receipt["error"])
        raise KINDS.get(kind, OSError)(*arguments)


def _told(error: MmcsalError | OSError) -> str:
    """An error as plain text: its class and what it says."""
    if isinstance(error, OSError):
        named = [error.errno, error.strerror, *([str(error.filename)] if error.filename else [])]
        return json.dumps(["OSError", named if error.strerror else [str(error)]])
    kind = next(c.__name__ for c in type(error).__mro__ if c.__name__ in KINDS)
    return json.dumps([kind, [str(error)]])
