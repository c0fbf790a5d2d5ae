"""What a command does with its stages: check them, or hold the run directory and run them."""

import traceback
from collections.abc import Iterator, Sequence

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import MmcsalError, ResourceError
from mmcsal.distributed.pipeline import plan, run_stages
from mmcsal.distributed.progress import Status
from mmcsal.distributed.session import local_num_cpus, told_to_the_reader
from mmcsal.rundir import RunDir

ACTIONS = {
    "committed": "committed already, will be skipped",
    "run": "will run",
    "resume": "will go on from its committed parts",
    "redo": "will be done again",
}


def check_stages(config: RunConfig, names: Sequence[str], redo: str | None) -> Iterator[str]:
    """The plan of a command, line by line; nothing is started or written.

    Raises: MmcsalError: what would also end the run before its first stage.
    """
    check_resources(config)
    run_dir = RunDir(config.run_dir)
    yield f"run directory: {run_dir.uri}"
    for step in plan(config, run_dir, names, redo):
        because = f" ({', '.join(step.changed)} changed)" if step.changed else ""
        yield f"{step.stage.name:<9} {ACTIONS[step.action]}{because}"
    where = config.cluster.address or f"a Ray of this machine with {local_num_cpus(config.cluster)} CPUs"
    workers = config.ingest.num_workers or "all"
    yield f"resources: {where}; ingest {workers} CPUs, pretrain {config.pretrain.num_workers} workers of 1 CPU"


def execute_stages(config: RunConfig, names: Sequence[str], redo: str | None) -> None:
    """Runs stages under the lock of the run directory and keeps `status.json` up to date.

    Raises: MmcsalError: with the exit code; anything else is a defect, its traceback lies in `error.txt`.
    """
    check_resources(config)
    run_dir = RunDir(config.run_dir)
    with run_dir.locked():
        status = Status(run_dir)
        try:
            run_stages(config, names, status, redo)
        except KeyboardInterrupt:
            status.finish("interrupted", 1, "the same command goes on from what is committed")
            raise
        except Exception as error:
            told = told_to_the_reader(error)
            if told is None:
                run_dir.write_bytes(traceback.format_exc().encode(), "error.txt")
                first_line = (str(error).strip().splitlines() or [""])[0]
                told = MmcsalError(
                    f"{type(error).__name__}: {first_line}; the traceback lies in {run_dir.path('error.txt')}; "
                    "the same command goes on from what is committed"
                )
            status.finish("failed", told.exit_code, str(told))
            raise told from error
        status.finish("done", 0)
        _say_result(run_dir, names, status)


def check_resources(config: RunConfig) -> None:
    """Refuses what a Ray of this machine can never give; a cluster may scale, so it is asked when it is there.

    Raises: ResourceError: with the key to change.
    """
    num_cpus, spec = local_num_cpus(config.cluster), config.pretrain
    if num_cpus is not None and spec.fewest_workers > num_cpus:
        key = "num_workers" if spec.min_workers is None else "min_workers"
        raise ResourceError(
            f"pretrain.{key} is {spec.fewest_workers}, but the Ray of this machine has {num_cpus} CPUs; "
            f"set pretrain.{key}={num_cpus} or less, or give the address of a larger cluster (cluster.address)"
        )


def _say_result(run_dir: RunDir, names: Sequence[str], status: Status) -> None:
    selected = run_dir.committed("selection")
    if "select" in names and selected is not None:
        status.say(f"selection: {selected['num_selected']} samples in {run_dir.path('selection')}")
    if "report" in names:
        status.say(f"report: {run_dir.path('report', 'report.html')}")
