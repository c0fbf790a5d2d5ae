"""EMBEDDING and labels -> TRIAL: strategies x seeds as tasks, each committed by itself."""

import json
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import ray

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.stages import EVALUATE
from mmcsal.contracts.table import conform
from mmcsal.contracts.trial import TRIAL
from mmcsal.distributed.stages.inputs import samples_with_labels
from mmcsal.evaluation.joins import in_other_embeddings
from mmcsal.evaluation.page import render
from mmcsal.evaluation.samples import Samples
from mmcsal.evaluation.spec import BASELINE, Contender, EvaluateSpec
from mmcsal.evaluation.trial import run_trial
from mmcsal.storage.parquet_files import list_parquet
from mmcsal.storage.rundir import RunDir

FOLDER = EVALUATE.folder
PAGE = "evaluation.html"  # beside the folder, which holds a table and nothing else
Task = tuple[Contender, int]  # and a seed


def evaluate_strategies(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Runs the trials that are not there yet; on as many CPUs as there are, one trial each.

    A strategy that refuses the pool, as it is too large for it, is left out with a warning.

    Raises:
        InputError, TableError: labels or embeddings do not fit, or no strategy can be run.
    """
    spec = config.evaluate
    samples = samples_with_labels(config, run_dir)
    wanted = {part_name(*task, spec): task for task in _tasks(spec)}
    done = set(run_dir.parts(FOLDER))
    pending = {name: task for name, task in wanted.items() if name not in done}
    progress(len(wanted) - len(pending), len(wanted))
    refused = _run(samples, config, pending, run_dir, lambda n: progress(len(wanted) - len(pending) + n, len(wanted)))
    if BASELINE in refused:
        raise InputError(f"evaluate: {refused[BASELINE]}")
    run_dir.write_bytes(render(trials(run_dir, spec), len(samples)), PAGE)
    counts = {"num_trials": len(wanted) - sum(contender.name in refused for contender, _ in wanted.values())}
    warnings = [f"{name} was left out: {reason}" for name, reason in sorted(refused.items())]
    return {**counts, "num_samples": len(samples), **({"warnings": warnings} if warnings else {})}


def trials(run_dir: RunDir, spec: EvaluateSpec) -> pa.Table:
    """The trials that the spec asks for, in its order, of all that are there; strategies that refused are left out."""
    there = set(run_dir.parts(FOLDER))
    names = [name for task in _tasks(spec) if (name := part_name(*task, spec)) in there]
    return pa.concat_tables([run_dir.read_part(FOLDER, name) for name in names] or [TRIAL.empty_table()])


def part_name(contender: Contender, seed: int, spec: EvaluateSpec) -> str:
    """Of a trial's file: another strategy under the same name has another one."""
    settings = [contender.model_dump(mode="json"), spec.model_dump(mode="json", include={"budgets"})]
    digest = blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{contender.name}-{digest}-seed-{seed:06d}.parquet"


def _tasks(spec: EvaluateSpec) -> Iterator[Task]:
    """Seed by seed, so that a first comparison is there early."""
    for seed in range(spec.first_seed, spec.first_seed + spec.num_seeds):
        for contender in spec.all_contenders:
            yield contender, seed


def _in_other_embeddings(samples: Samples, folder: str, config: RunConfig) -> Samples:
    """The same samples in the embeddings of another encoder.

    Raises:
        InputError, TableError: the folder is none of embeddings, or some of these samples are missing there.
    """
    filesystem, infos = list_parquet(folder, config.storage, what="embeddings of a contender")
    return in_other_embeddings(samples, [info.path for info in infos], filesystem, where=folder)


def _run(
    samples: Samples, config: RunConfig, pending: dict[str, Task], run_dir: RunDir, on_done: Callable[[int], None]
) -> dict[str, str]:
    """Commits each trial when it is done; the strategies that refused, and what they said."""
    spec = config.evaluate
    samples_ref = ray.put(samples)
    folders = {contender.embeddings for contender, _ in pending.values() if contender.embeddings is not None}
    seen_ref = {None: None, **{folder: ray.put(_in_other_embeddings(samples, folder, config)) for folder in folders}}
    waiting = {
        _trial.remote(samples_ref, contender, spec, seed, seen_ref[contender.embeddings]): name
        for name, (contender, seed) in pending.items()
    }
    refused: dict[str, str] = {}
    num_done = 0
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(done)
        rows = ray.get(done)
        if isinstance(rows, str):
            refused.setdefault(pending[name][0].name, rows)
        else:
            run_dir.write_part(FOLDER, name, conform(pa.Table.from_pylist(rows), TRIAL, name=name))
        num_done += 1
        on_done(num_done)
    return refused


@ray.remote(num_cpus=1)
def _trial(
    samples: Samples, contender: Contender, spec: EvaluateSpec, seed: int, seen: Samples | None
) -> list[dict[str, Any]] | str:
    """The rows of a trial; what the strategy said where it refuses."""
    try:
        return run_trial(samples, contender, spec, seed, seen)
    except InputError as error:
        return str(error)
