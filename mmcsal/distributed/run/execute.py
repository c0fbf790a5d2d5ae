"""Runs the stages of a plan: waits for what each asks for, tries again after a loss, commits, and says how it went."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from mmcsal.config import RunConfig, to_yaml
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.stages import FOLDERS
from mmcsal.distributed.cluster.errors import cause_of, first_line_of
from mmcsal.distributed.cluster.resources import capacity, refuse_impossible, resource_request, wait_for
from mmcsal.distributed.cluster.retries import with_retries
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.cluster.telemetry import count_retry
from mmcsal.distributed.run.plan import PlannedStage, digest_of_stage, plan, plan_stage
from mmcsal.distributed.run.settings import digest
from mmcsal.distributed.run.stages import BESIDE, PIPELINE, Stage
from mmcsal.distributed.run.status import Status
from mmcsal.storage.rundir import RunDir


def run_stages(
    config: RunConfig,
    names: Sequence[str],
    status: Status,
    redo: str | None = None,
    check_lock: Callable[[], None] = lambda: None,
) -> None:
    """Runs the named stages in order and skips what is committed.

    Args:
        check_lock: called before a stage begins and before it is committed; raises if the run is no longer ours.

    Raises:
        MmcsalError: see `plan`, and each stage.
    """
    run_dir = RunDir(config.run_dir, config.storage)
    steps = plan(config, run_dir, names, redo)
    saved = to_yaml(config).encode()
    if not any(run_dir.committed(stage.folder) for stage in (*PIPELINE, *BESIDE)):
        run_dir.write_bytes(saved, "config.yaml")  # of a run with nothing to lose yet; else what has come of it is kept
    upstream = steps[0].settings["upstream"]
    with ExitStack() as session:
        for planned in steps:
            # Planned once more: the stage before has given its digest only now.
            settings = {**planned.settings, "upstream": upstream}
            step = plan_stage(planned.stage, settings, run_dir, must_redo=planned.action == "redo")
            if step.action == "committed":
                status.say(f"{step.stage.name}: committed already")
                status.update_stage(step.stage.name, state="committed")
            else:
                if step.stage.facts.needs_ray:
                    session.enter_context(ray_session(config.cluster))
                    _wait_for_resources(step.stage, config, status)
                _run_stage(step, config, run_dir, status, check_lock)
                run_dir.write_bytes(saved, "config.yaml")
            upstream = digest_of_stage(step.stage, run_dir)
    run_dir.write_bytes(saved, "config.yaml")


def _wait_for_resources(stage: Stage, config: RunConfig, status: Status) -> None:
    """Waits for what the stage asks for at least.

    Raises:
        ResourceError: what the stage asks for at least can never come, or does not come in time.
    """
    found = capacity(config.cluster)
    request = resource_request(stage.name, config, found)
    refuse_impossible([request], found)
    status.say(f"{stage.name}: asks for {request}; there are {found}")
    wait_for(request, config.cluster)


def _run_stage(
    step: PlannedStage, config: RunConfig, run_dir: RunDir, status: Status, check_lock: Callable[[], None]
) -> None:
    stage = step.stage
    check_lock()
    run_dir.pin(*FOLDERS)
    if stage.in_place:
        run_dir.begin_in_place(stage.folder, step.settings)
    else:
        resume = step.action == "resume" and stage.resumes
        run_dir.begin(stage.folder, step.settings, stage.facts.side_folders, resume=resume)
    because = f" ({', '.join(step.changed)} changed)" if step.changed else ""
    status.say(f"{stage.name}: {'resumed' if step.action == 'resume' else 'started'}{because}")
    start_s = time.monotonic()
    with status.stage(stage.name) as progress:
        receipt, num_retries = _with_retries(stage, config, run_dir, status, progress)
    wall_s = round(time.monotonic() - start_s, 2)
    receipt.setdefault("digest", digest(step.settings))
    receipt |= {"resumed": step.action == "resume", **({"num_retries": num_retries} if num_retries else {})}
    check_lock()
    run_dir.commit(stage.folder, {**receipt, "settings": step.settings, "wall_s": wall_s})
    warnings = receipt.get("warnings") or []
    noted = {"warnings": warnings} if warnings else {}
    status.update_stage(stage.name, state="committed", wall_s=wall_s, **noted, write=True)
    status.say(f"{stage.name}: done in {wall_s:.1f} s{_headline(receipt)}")
    for warning in warnings:
        status.say(f"{stage.name}: warning: {warning}")


def _with_retries(
    stage: Stage, config: RunConfig, run_dir: RunDir, status: Status, progress: Progress
) -> tuple[dict[str, Any], int]:
    """The receipt of a stage, and how often it was begun again because workers, nodes or the storage were lost."""
    losses: list[str] = []

    def on_retry(error: BaseException) -> None:
        first_line = first_line_of(error)
        losses.append(first_line)
        count_retry(stage.name)
        status.update_stage(stage.name, num_retries=len(losses))
        status.say(f"{stage.name}: lost {type(cause_of(error)).__name__}: {first_line}; goes on from what is committed")

    receipt = with_retries(lambda: stage.run(config, run_dir, progress), lambda: stage.kept(run_dir), on_retry)
    return receipt, len(losses)


def _headline(receipt: dict[str, Any]) -> str:
    facts = [f"{key.removeprefix('num_')} {value}" for key, value in receipt.items() if key.startswith("num_")]
    return "; " + ", ".join(facts) if facts else ""
