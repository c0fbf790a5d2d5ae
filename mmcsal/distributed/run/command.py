"""What a command does with its stages: check them, or hold the run directory and run them."""

import errno
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import MmcsalError
from mmcsal.contracts.stages import MANIFEST, NAME_WIDTH
from mmcsal.distributed.cluster.errors import cause_of, first_line_of, mmcsal_error_in
from mmcsal.distributed.cluster.resources import (
    HERE,
    Capacity,
    ResourceRequest,
    capacity,
    refuse_impossible,
    resource_request,
)
from mmcsal.distributed.cluster.session import cluster_address, ray_session
from mmcsal.distributed.run.corpus_check import describe_corpus
from mmcsal.distributed.run.execute import run_stages
from mmcsal.distributed.run.plan import plan
from mmcsal.distributed.run.preflight import check_corpus, check_inputs
from mmcsal.distributed.run.stages import BESIDE, PIPELINE, ray_stages
from mmcsal.distributed.run.status import Status
from mmcsal.redaction import redacted
from mmcsal.storage.lease import LeaseLostError
from mmcsal.storage.rundir import RunDir

ACTIONS = {
    "committed": "committed already, will be skipped",
    "run": "will run",
    "resume": "will go on from its committed parts",
    "redo": "will be done again",
}
OWN_FILES = ("config.yaml", "status.json", "error.txt")  # of every command


def check_stages(config: RunConfig, names: Sequence[str], redo: str | None) -> Iterator[str]:
    """The plan of a command, line by line; nothing is started or written.

    Raises:
        MmcsalError: what would also end the run before its first stage.
    """
    run_dir = RunDir(config.run_dir, config.storage)
    run_dir.check_reachable()
    yield f"run directory: {run_dir.uri}"
    steps = plan(config, run_dir, names, redo)
    check_inputs(config, run_dir, steps)
    for step in steps:
        because = f" ({', '.join(step.changed)} changed)" if step.changed else ""
        yield f"{step.stage.name:<{NAME_WIDTH}} {ACTIONS[step.action]}{because}"
    if any(step.stage.name == MANIFEST.name and step.action != "committed" for step in steps):
        yield from describe_corpus(config)
    yield from _check_resources(config, names)


def _check_resources(config: RunConfig, names: Sequence[str]) -> Iterator[str]:
    """What the stages ask for, and whether it can ever be had.

    Raises:
        ResourceError: with the key to change; or no cluster answers at the address.
    """
    address = cluster_address(config.cluster)
    with ray_session(config.cluster) if address else nullcontext():
        found = capacity(config.cluster)
        yield f"resources: {f'the cluster at {address}' if address else HERE} with {found}"
        for request in _possible_requests(config, names, found):
            yield f"  {request.stage:<{NAME_WIDTH}} {request}"


def _possible_requests(config: RunConfig, names: Sequence[str], found: Capacity) -> list[ResourceRequest]:
    """What the stages ask for, all of which can be had.

    Raises:
        ResourceError: a stage asks for what can never be had.
    """
    requests = [resource_request(stage, config, found) for stage in ray_stages(names)]
    refuse_impossible(requests, found)
    return requests


def execute_stages(config: RunConfig, names: Sequence[str], redo: str | None) -> None:
    """Runs stages under the lock of the run directory and keeps `status.json` up to date.

    Raises:
        MmcsalError: with the exit code; anything else is a defect, its traceback lies in `error.txt`.
    """
    run_dir = RunDir(config.run_dir, config.storage)
    run_dir.check_reachable()
    if not run_dir.is_held():  # else it is for the lock to say so
        steps = plan(config, run_dir, names, redo)
        check_inputs(config, run_dir, steps)
        check_corpus(config, steps)
    if cluster_address(config.cluster) is None:  # before anything is started
        _possible_requests(config, names, capacity(config.cluster))
    with run_dir.locked() as check_lock:
        for name in OWN_FILES:
            run_dir.check_inside(name)
        status = Status(run_dir)
        try:
            run_stages(config, names, status, redo, check_lock)
        except LeaseLostError:
            raise  # the status is that of the other driver now
        except KeyboardInterrupt:
            check_lock()
            status.finish("interrupted", 1, "the same command goes on from what is committed")
            raise
        except Exception as error:
            ours = mmcsal_error_in(error) or _unexpected(error, run_dir)
            with suppress(OSError):  # the disk may be what has failed
                status.finish("failed", ours.exit_code, str(ours))
            raise ours from error
        status.finish("done", 0)
        _say_results(config, run_dir, names, status)


def _unexpected(error: Exception, run_dir: RunDir) -> MmcsalError:
    """A failure that is nobody's message: in one line, with its traceback in a file."""
    cause = cause_of(error)
    where = f"the traceback lies in {run_dir.path('error.txt')}"
    try:
        run_dir.write_bytes(redacted(traceback.format_exc()).encode(errors="replace"), "error.txt")
    except OSError:
        print(redacted(traceback.format_exc()), file=sys.stderr)
        where = "the traceback is above"
    remedy = "free some space; then " if getattr(cause, "errno", None) == errno.ENOSPC else ""
    said = f"{type(cause).__name__}: {first_line_of(error)}"
    return MmcsalError(f"{said}; {where}; {remedy}the same command goes on from what is committed")


def _say_results(config: RunConfig, run_dir: RunDir, names: Sequence[str], status: Status) -> None:
    for stage in (*PIPELINE, *BESIDE):
        if stage.name in names and stage.result is not None:
            result = stage.result(config, run_dir)
            for row in result.rows:
                print(row)
            for place in result.places:
                status.say(place)
