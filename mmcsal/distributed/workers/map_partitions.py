"""Runs one worker class over the partitions of a table with Ray Data.

A worker commits its partition itself, whole or not at all, and hands back a small receipt. So no row passes
through the driver, a retried task writes the same file again, and a killed run goes on with the partitions that
are not there yet.
"""

from collections.abc import Callable
from typing import Any

import ray
from ray.data import ActorPoolStrategy

from mmcsal.distributed.workers.partition_worker import PartitionWorker, raise_told
from mmcsal.storage.rundir import RunDir

Progress = Callable[..., None]


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
        worker, constructor: the class, and the keyword arguments it is made with.
        num_workers: actors at a time, of one CPU each.
        use_gpu: each holds a GPU, too.

    Raises: MmcsalError, OSError: what the worker raised, of the first partition that failed.
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
        raise_told(receipt)
        num_done += 1
        progress(num_done, num_total)
