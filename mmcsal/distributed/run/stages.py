"""The stages in their order: what is committed already, what has to run, and running it."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from mmcsal.config import RunConfig, to_yaml
from mmcsal.contracts.errors import InputError
from mmcsal.distributed.cluster.errors import cause_of, first_line_of
from mmcsal.distributed.cluster.resources import ask_of, capacity, refuse_impossible, wait_for
from mmcsal.distributed.cluster.retries import with_retries
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.cluster.telemetry import count_retry
from mmcsal.distributed.run.status import Status
from mmcsal.distributed.stages.embed import embed_clips
from mmcsal.distributed.stages.evaluate import evaluate_strategies
from mmcsal.distributed.stages.finetune import finetune_classifier
from mmcsal.distributed.stages.ingest import ingest_clips, scan_corpus
from mmcsal.distributed.stages.pretrain import pretrain_encoders
from mmcsal.distributed.stages.select import select_clips
from mmcsal.distributed.stages.tune import JUDGED_BY, MEASURED, tune_lambdas
from mmcsal.distributed.workers.finetune import FOLDER as CLASSIFIER
from mmcsal.distributed.workers.map_partitions import Progress
from mmcsal.distributed.workers.trainer import checkpoints
from mmcsal.report.build import build_report
from mmcsal.storage.parquet_files import list_parquet
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import open_uri
from mmcsal.training.batch_spec import NOT_IN_RESULT
from mmcsal.training.state import NOT_IN_HASH

Settings = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage: what it runs, the folder that it commits, and the settings that its result depends on."""

    name: str
    folder: str
    run: Callable[[RunConfig, RunDir, Progress], dict[str, Any]]
    settings: Callable[[RunConfig], Settings]
    needs_ray: bool = True
    resumes: bool = True  # parts of a killed attempt are kept; else the stage starts over
    is_cheap: bool = False  # seconds to minutes: new settings redo it without being asked
    in_place: bool = False  # its files keep their paths: only the driver writes them
    committed: Callable[[RunDir], Any] | None = None  # what a new try goes on from; None = the parts of the folder
    after: str | None = None  # of a stage beside the pipeline, that only its own command runs: what it builds on
    grows: frozenset[str] = frozenset()  # keys whose new value adds parts and leaves those that are there valid


def write_report(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    build_report(run_dir, config.report)
    return {}


STAGES = (
    Stage(
        "manifest",
        "manifest",
        scan_corpus,
        lambda c: {"corpus": _dump(c.corpus), "samples_per_partition": c.ingest.samples_per_partition},
        needs_ray=False,
        resumes=False,
    ),
    Stage(
        "ingest",
        "clips",
        ingest_clips,
        # How long to wait for a file, and when to start a fresh decoder, do not change a clip.
        lambda c: {"media": c.media.model_dump(exclude={"timeout_s", "recycle_after_clips"})},
    ),
    Stage(
        "pretrain",
        "checkpoints",
        pretrain_encoders,
        # A run may go on with other workers, and is not redone for them: they change the last digits alone.
        lambda c: {
            "model": _dump(c.model),
            "pretrain": c.pretrain.model_dump(mode="json", exclude=NOT_IN_HASH),
            "seed": c.seed,
        },
        committed=lambda run_dir: checkpoints(run_dir, "checkpoints"),
    ),
    Stage(
        "embed",
        "embeddings",
        embed_clips,
        lambda c: {"embed": c.embed.model_dump(exclude={"num_workers"})},
    ),
    Stage(
        "select",
        "selection",
        select_clips,
        lambda c: {"select": _dump(c.select), "seed": c.seed, **_named_files(c, _id_files(c), c.select.earlier)},
        resumes=False,
        is_cheap=True,
    ),
    Stage(
        "report",
        "report",
        write_report,
        lambda c: {"report": _dump(c.report)},
        needs_ray=False,
        resumes=False,
        is_cheap=True,
        in_place=True,
    ),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
BESIDE = (
    Stage(
        "evaluate",
        "evaluation",
        evaluate_strategies,
        lambda c: {"evaluate": _dump(c.evaluate), **_named_files(c, [c.evaluate.labels])},
        after="embed",
        grows=frozenset(f"evaluate.{key}" for key in ("groups", "contenders", "num_seeds", "first_seed")),
    ),
    Stage(
        "tune",
        "tuning",
        tune_lambdas,
        lambda c: {
            "tune": _dump(c.tune),
            "evaluate": c.evaluate.model_dump(mode="json", include=JUDGED_BY),
            "select": _dump(c.select),
            "seed": c.seed,
            **_named_files(c, [c.evaluate.labels]),
        },
        committed=lambda run_dir: run_dir.names("tuning", MEASURED),
        after="embed",
    ),
    Stage(
        "finetune",
        CLASSIFIER,
        finetune_classifier,
        lambda c: {
            "finetune": c.finetune.model_dump(mode="json", exclude=set(NOT_IN_RESULT)),
            "seed": c.seed,
            **_named_files(c, [c.finetune.labels]),
        },
        committed=lambda run_dir: checkpoints(run_dir, CLASSIFIER),
        after="pretrain",
    ),
)
# Folders that a stage fills beside its own.
SIDE_FOLDERS = {"ingest": ["rejects"], "pretrain": ["metrics"], "select": ["candidates", "selection_rejects"]}
FOLDERS = (
    *(stage.folder for stage in (*STAGES, *BESIDE)),
    *(name for names in SIDE_FOLDERS.values() for name in names),
)


@dataclass(frozen=True)
class Planned:
    """A stage and what will happen to it: `committed`, `run`, `resume` or `redo`."""

    stage: Stage
    action: str
    settings: Settings
    changed: tuple[str, ...] = ()  # keys whose new value asks for a redo


def plan(config: RunConfig, run_dir: RunDir, names: Sequence[str], redo: str | None = None) -> list[Planned]:
    """What a command will do, stage by stage, without doing it.

    Raises: InputError: a stage before the first one asked for is not committed; or a stage that took long was
        made with other settings and is not named by `redo`.
    """
    planned: list[Planned] = []
    upstream: str | None = _digest_of_files(config) if config.embeddings else ""
    must_redo = False
    for stage in _chain(config, names):
        settings = {**stage.settings(config), "upstream": upstream}
        must_redo = must_redo or stage.name == redo
        step = _plan_stage(stage, settings, run_dir, must_redo)
        if stage.name in names:
            planned.append(step)
        elif step.action != "committed":
            raise InputError(
                f"{names[0]} needs what {stage.name} leaves in {run_dir.path(stage.folder)}, and that is "
                f"{'made with other settings (' + ', '.join(step.changed) + ')' if step.changed else 'not complete'}; "
                f"run `mmcsal {stage.name if stage.name != 'manifest' else 'ingest'} --run-dir {run_dir.uri}` first"
            )
        upstream = _digest_of_stage(stage, run_dir) if step.action == "committed" else None
    return planned


def _chain(config: RunConfig, names: Sequence[str]) -> Sequence[Stage]:
    """The stages up to the last one asked for; embeddings made elsewhere stand for all stages before `select`.

    Raises: InputError: what a stage builds on is one of those.
    """
    first = STAGE_NAMES.index("select") if config.embeddings else 0
    beside = [stage for stage in BESIDE if stage.name in names]
    last = max(STAGE_NAMES.index(stage.after or "") for stage in beside) if beside else _last(names)
    if last < first - 1:
        raise InputError(
            f"{names[0]} needs what {STAGE_NAMES[last]} leaves, and a run on embeddings made elsewhere (embeddings: "
            f"{config.embeddings}) has none; give the --run-dir of a run on a corpus"
        )
    return (*STAGES[first : last + 1], *beside)


def _last(names: Sequence[str]) -> int:
    return max(STAGE_NAMES.index(name) for name in names)


def _plan_stage(stage: Stage, settings: Settings, run_dir: RunDir, must_redo: bool) -> Planned:
    committed = run_dir.committed(stage.folder)
    before = committed["settings"] if committed else run_dir.started(stage.folder)
    if before is None or not (committed or stage.resumes):
        return Planned(stage, "run", settings)
    # Upstream is unknown (None) while an earlier stage has still to run: then this one is redone after it.
    changes = _changes(before, settings)
    changed = tuple(changes)
    if not changed and not must_redo:
        return Planned(stage, "committed" if committed else "resume", settings)
    if not must_redo and set(changed) <= stage.grows:
        return Planned(stage, "resume", settings, changed)
    if must_redo or stage.is_cheap or changed == ("upstream",):
        return Planned(stage, "redo", settings, changed)
    told = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changes.items())
    raise InputError(
        f"{run_dir.uri} holds {'a' if committed else 'an unfinished'} {stage.name} of other settings "
        f"({told}); give another --run-dir, "
        f"or --redo {stage.name} to replace it and all after it"
    )


def ray_stages(names: Sequence[str]) -> list[str]:
    """Those of the named stages that run on Ray."""
    return [stage.name for stage in (*STAGES, *BESIDE) if stage.needs_ray and stage.name in names]


def run_stages(
    config: RunConfig,
    names: Sequence[str],
    status: Status,
    redo: str | None = None,
    check_lock: Callable[[], None] = lambda: None,
) -> None:
    """Runs the named stages in order and skips what is committed.

    Args: check_lock: called before a stage begins and before it is committed; raises if the run is no longer ours.
    Raises: MmcsalError: see `plan`, and each stage.
    """
    run_dir = RunDir(config.run_dir, config.storage)
    steps = plan(config, run_dir, names, redo)
    run_dir.write_bytes(to_yaml(config).encode(), "config.yaml")
    upstream = steps[0].settings["upstream"]
    with ExitStack() as session:
        for planned in steps:
            # Planned once more: the stage before has given its digest only now.
            settings = {**planned.settings, "upstream": upstream}
            step = _plan_stage(planned.stage, settings, run_dir, must_redo=planned.action == "redo")
            if step.action == "committed":
                status.say(f"{step.stage.name}: committed already")
                status.update_stage(step.stage.name, state="committed")
            else:
                if step.stage.needs_ray:
                    session.enter_context(ray_session(config.cluster))
                    _wait_for_resources(step.stage, config, status)
                _run_stage(step, config, run_dir, status, check_lock)
            upstream = _digest_of_stage(step.stage, run_dir)


def _wait_for_resources(stage: Stage, config: RunConfig, status: Status) -> None:
    """Raises: ResourceError: what the stage asks for at least can never come, or does not come in time."""
    found = capacity(config.cluster)
    ask = ask_of(stage.name, config, found)
    refuse_impossible([ask], found)
    status.say(f"{stage.name}: asks for {ask.told()}; there are {found}")
    wait_for(ask, config.cluster)


def _run_stage(
    step: Planned, config: RunConfig, run_dir: RunDir, status: Status, check_lock: Callable[[], None]
) -> None:
    stage = step.stage
    check_lock()
    run_dir.pin(*FOLDERS)
    if stage.in_place:
        run_dir.begin_in_place(stage.folder, step.settings)
    else:
        resume = step.action == "resume" and stage.resumes
        run_dir.begin(stage.folder, step.settings, SIDE_FOLDERS.get(stage.name, []), resume=resume)
    because = f" ({', '.join(step.changed)} changed)" if step.changed else ""
    status.say(f"{stage.name}: {'resumed' if step.action == 'resume' else 'started'}{because}")
    start_s = time.monotonic()
    with status.stage(stage.name) as progress:
        receipt, num_retries = _with_retries(stage, config, run_dir, status, progress)
    wall_s = round(time.monotonic() - start_s, 2)
    digest = receipt.pop("digest", None) or _digest(step.settings)
    receipt |= {"resumed": step.action == "resume", **({"num_retries": num_retries} if num_retries else {})}
    check_lock()
    run_dir.commit(stage.folder, {**receipt, "settings": step.settings, "digest": digest, "wall_s": wall_s})
    told = {"warnings": receipt["warnings"]} if receipt.get("warnings") else {}
    status.update_stage(stage.name, state="committed", wall_s=wall_s, **told, write=True)
    status.say(f"{stage.name}: done in {wall_s:.1f} s{_headline(receipt)}")
    for warning in receipt.get("warnings", ()):
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

    def committed() -> Any:
        return stage.committed(run_dir) if stage.committed else run_dir.parts(stage.folder)

    receipt = with_retries(lambda: stage.run(config, run_dir, progress), committed, on_retry)
    return receipt, len(losses)


def _headline(receipt: dict[str, Any]) -> str:
    facts = [f"{key.removeprefix('num_')} {value}" for key, value in receipt.items() if key.startswith("num_")]
    return "; " + ", ".join(facts) if facts else ""


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


def _digest_of_stage(stage: Stage, run_dir: RunDir) -> str | None:
    return (run_dir.committed(stage.folder) or {}).get("digest")


def _digest(settings: Settings) -> str:
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()


def _digest_of_files(config: RunConfig) -> str:
    """Tells a changed folder by names, sizes and times: reading embeddings twice would cost as much as selecting."""
    facts = [(info.path, info.size, info.mtime_ns) for info in list_parquet(config.embeddings or "", config.storage)[1]]
    return _digest({"files": facts})


def _id_files(config: RunConfig) -> list[str | None]:
    spec = config.select
    return [path for path in (spec.labeled, spec.include, spec.exclude, spec.labels) if isinstance(path, str)]


def _named_files(config: RunConfig, paths: Sequence[str | None], folders: Sequence[str] = ()) -> Settings:
    """Tells changed files of ids and labels; nothing where none are named."""
    infos = []
    for path in filter(None, paths):
        filesystem, place = open_uri(path, config.storage, what="file of ids or labels")
        infos.append(filesystem.get_file_info(place))
    for folder in folders:
        infos += list_parquet(folder, config.storage, what="select.earlier")[1]
    return {"files": _digest({"files": [(i.path, i.size, i.mtime_ns) for i in infos]})} if infos else {}


def _dump(spec: Any) -> Any:
    return spec.model_dump(mode="json") if spec is not None else None
