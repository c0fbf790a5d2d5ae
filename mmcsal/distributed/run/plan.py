"""What a command will do, stage by stage: what is committed already, what has to run, and what stands in the way."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.stages import STAGE_NAMES
from mmcsal.distributed.run.settings import Settings, digest_of_embeddings
from mmcsal.distributed.run.stages import BESIDE, PIPELINE, Stage
from mmcsal.storage.rundir import RunDir


@dataclass(frozen=True)
class PlannedStage:
    """A stage and what will happen to it: `committed`, `run`, `resume` or `redo`."""

    stage: Stage
    action: str
    settings: Settings
    changed: tuple[str, ...] = ()  # keys whose new value asks for a redo


def plan(config: RunConfig, run_dir: RunDir, names: Sequence[str], redo: str | None = None) -> list[PlannedStage]:
    """What a command will do, stage by stage, without doing it.

    Raises:
        InputError: a stage before the first one asked for is not committed; or a stage that took long was made with
            other settings and is not named by `redo`.
    """
    planned: list[PlannedStage] = []
    upstream: str | None = digest_of_embeddings(config) if config.embeddings else ""
    must_redo = False
    for stage in _chain(config, names):
        settings = {**stage.settings(config), "upstream": upstream}
        must_redo = must_redo or stage.name == redo
        step = plan_stage(stage, settings, run_dir, must_redo)
        if stage.name in names:
            planned.append(step)
        elif step.action != "committed":
            raise InputError(
                f"{names[0]} needs what {stage.name} leaves in {run_dir.path(stage.folder)}, and that is "
                f"{'made with other settings (' + ', '.join(step.changed) + ')' if step.changed else 'not complete'}; "
                f"run `mmcsal {stage.name if stage.name != 'manifest' else 'ingest'} --run-dir {run_dir.uri}` first"
            )
        upstream = digest_of_stage(stage, run_dir) if step.action == "committed" else None
    return planned


def _chain(config: RunConfig, names: Sequence[str]) -> Sequence[Stage]:
    """The stages up to the last one asked for; embeddings made elsewhere stand for all stages before `select`.

    Raises:
        InputError: what a stage builds on is one of those.
    """
    first = STAGE_NAMES.index("select") if config.embeddings else 0
    beside = [stage for stage in BESIDE if stage.name in names]
    last = max(STAGE_NAMES.index(stage.facts.after or "") for stage in beside) if beside else _last(names)
    if last < first - 1:
        raise InputError(
            f"{names[0]} needs what {STAGE_NAMES[last]} leaves, and a run on embeddings made elsewhere (embeddings: "
            f"{config.embeddings}) has none; give the --run-dir of a run on a corpus"
        )
    return (*PIPELINE[first : last + 1], *beside)


def _last(names: Sequence[str]) -> int:
    return max(STAGE_NAMES.index(name) for name in names)


def plan_stage(stage: Stage, settings: Settings, run_dir: RunDir, must_redo: bool) -> PlannedStage:
    """What will happen to one stage.

    Raises:
        InputError: see `plan`.
    """
    committed = run_dir.committed(stage.folder)
    begun = run_dir.started(stage.folder) if stage.resumes and not run_dir.is_complete(stage.folder) else None
    if begun is not None and not must_redo and not _changes(begun, settings):
        return PlannedStage(stage, "resume", settings)
    if committed is None and (begun is None or not stage.kept(run_dir)):  # what has kept nothing is in nobody's way
        return PlannedStage(stage, "run", settings)
    before = committed["settings"] if committed else begun or {}
    # Upstream is unknown (None) while an earlier stage has still to run: then this one is redone after it.
    changes = _changes(before, settings)
    changed = tuple(changes)
    if not changed and not must_redo:
        return _unchanged(stage, settings, run_dir, has_ended=committed is not None)
    if not must_redo and set(changed) <= stage.grows:
        return PlannedStage(stage, "resume", settings, changed)
    if must_redo or stage.is_cheap or changed == ("upstream",):
        return PlannedStage(stage, "redo", settings, changed)
    differences = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changes.items())
    raise InputError(
        f"{run_dir.uri} holds {'a' if committed else 'an unfinished'} {stage.name} of other settings "
        f"({differences}); give another --run-dir, "
        f"or --redo {stage.name} to replace it and all after it"
    )


def _unchanged(stage: Stage, settings: Settings, run_dir: RunDir, *, has_ended: bool) -> PlannedStage:
    """What will happen to a stage that was made with these very settings.

    Raises:
        InputError: some of what it made is gone.
    """
    gone = run_dir.changed_content(stage.folder, may_grow=bool(stage.grows)) if has_ended else None
    if gone is not None and not stage.is_cheap:
        raise InputError(stage.facts.lost(gone, run_dir.uri))
    if gone is not None:
        return PlannedStage(stage, "redo", settings, ("files",))
    return PlannedStage(stage, "committed" if has_ended else "resume", settings)


def _changes(before: Settings, after: Settings, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values; where one side has no such key, None."""
    changes: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changes |= _changes(old, new, f"{prefix}{key}.")
        elif json.dumps(old) != json.dumps(new):
            changes[prefix + key] = (old, new)
    return changes


def digest_of_stage(stage: Stage, run_dir: RunDir) -> str | None:
    """Of what a stage has committed; None = nothing."""
    return (run_dir.committed(stage.folder) or {}).get("digest")
