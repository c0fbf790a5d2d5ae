"""EMBEDDING and labels -> TRIAL: strategies x seeds as tasks, each committed by itself."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import ray

from mmcsal.config import RunConfig
from mmcsal.contracts.embedding import SUFFIX, read_vectors
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.table import check_unique_ids, conform
from mmcsal.contracts.trial import TRIAL
from mmcsal.distributed.labels import read_labels
from mmcsal.distributed.partitions import Progress
from mmcsal.distributed.select_stage import list_parquet
from mmcsal.evaluation.data import Labeled, labeled
from mmcsal.evaluation.spec import BASELINE, Contender, EvaluateSpec
from mmcsal.evaluation.trial import run_trial
from mmcsal.rundir import RunDir

FOLDER = "evaluation"
MIN_CLASSES = 2


def evaluate_strategies(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Runs the trials that are not there yet; on as many CPUs as there are, one trial each.

    A strategy that refuses the pool, as it is too large for it, is left out with a warning.

    Raises: InputError, TableError: labels or embeddings do not fit, or no strategy can be run.
    """
    spec = config.evaluate
    samples = labeled_samples(config, run_dir)
    wanted = {name: task for task in _tasks(spec) if (name := part_name(*task, spec))}
    done = set(run_dir.parts(FOLDER))
    pending = {name: task for name, task in wanted.items() if name not in done}
    progress(len(wanted) - len(pending), len(wanted))
    refused = _run(samples, spec, pending, run_dir, lambda n: progress(len(wanted) - len(pending) + n, len(wanted)))
    if BASELINE in refused:
        raise InputError(f"evaluate: {refused[BASELINE]}")
    counts = {"num_trials": len(wanted) - sum(task[0].name in refused for task in wanted.values())}
    warnings = [f"{name} was left out: {told}" for name, told in sorted(refused.items())]
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


def labeled_samples(config: RunConfig, run_dir: RunDir) -> Labeled:
    """Embeddings of the samples that have a label.

    Raises: InputError: there are none, or of fewer than two classes. TableError: embeddings that break their schema.
    """
    spec = config.evaluate
    if spec.labels is not None:
        table = read_labels(spec.labels, config.storage, label=spec.label_column, aligned=spec.aligned_column)
        where = repr(spec.labels)
    else:
        table = run_dir.dataset("manifest", MANIFEST).to_table(columns=["sample_id", "label"])
        where = "the manifest"
    table = table.filter(table["label"].is_valid())
    filesystem, files = run_dir.filesystem, run_dir.part_paths("embeddings")
    if config.embeddings:
        filesystem, infos = list_parquet(config.embeddings, config.storage)
        files = [info.path for info in infos]
    source = ds.dataset(files, filesystem=filesystem, format="parquet")
    vectors = [name for name in source.schema.names if name.endswith(SUFFIX)]
    if len(vectors) != 2 or "sample_id" not in source.schema.names:
        raise TableError(
            f"embeddings: expected sample_id and two columns <modality>{SUFFIX}, found {source.schema.names}"
        )
    labeled_ids = table["sample_id"].combine_chunks()
    found = source.to_table(columns=["sample_id", *vectors], filter=ds.field("sample_id").isin(labeled_ids))
    check_unique_ids(found["sample_id"], name="embeddings")
    places = pc.call_function("index_in", [found["sample_id"]], pc.SetLookupOptions(value_set=labeled_ids))
    table = table.take(places)
    classes = table["label"].unique()
    if len(classes) < MIN_CLASSES:
        raise InputError(
            f"evaluate: {found.num_rows} of {source.count_rows()} embedded samples have a label in {where}, of "
            f"{len(classes)} classes; give labels of at least two classes: evaluate.labels=FILE, a .csv or .parquet "
            f"file with the columns sample_id and {spec.label_column}"
        )
    a_ND, v_ND = (read_vectors(found, name.removesuffix(SUFFIX)) for name in vectors)
    known = None
    if "aligned" in table.column_names and table["aligned"].null_count < table.num_rows:
        known = [aligned is False for aligned in table["aligned"].to_pylist()]
    return labeled(found["sample_id"].to_pylist(), a_ND, v_ND, table["label"].to_pylist(), known)


def _tasks(spec: EvaluateSpec) -> Iterator[tuple[Contender, int]]:
    """Seed by seed, so that a first comparison is there early."""
    for seed in range(spec.first_seed, spec.first_seed + spec.num_seeds):
        for contender in spec.all_contenders:
            yield contender, seed


def _run(samples: Labeled, spec: EvaluateSpec, pending, run_dir: RunDir, progress) -> dict[str, str]:
    """Commits each trial when it is done; the strategies that refused, and what they said."""
    samples_ref = ray.put(samples)
    waiting = {_trial.remote(samples_ref, contender, spec, seed): name for name, (contender, seed) in pending.items()}
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
        progress(num_done)
    return refused


@ray.remote(num_cpus=1)
def _trial(samples: Labeled, contender: Contender, spec: EvaluateSpec, seed: int) -> list[dict[str, Any]] | str:
    """The rows of a trial; what the strategy said where it refuses."""
    try:
        return run_trial(samples, contender, spec, seed)
    except InputError as error:
        return str(error)
