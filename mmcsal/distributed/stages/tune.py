"""EMBEDDING (and labels) -> TUNING: a search over settings of the selection; fresh seeds check the best few."""

import textwrap
from typing import Any

import numpy as np
import pyarrow as pa

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.table import conform
from mmcsal.contracts.tuning import TUNING
from mmcsal.distributed.stages.inputs import embedding_files, manifest_of, samples_with_labels
from mmcsal.distributed.workers.tune import FOLDER, Trials, search
from mmcsal.evaluation.joins import embedded_samples
from mmcsal.evaluation.samples import Samples
from mmcsal.selection.spec import TotalCost
from mmcsal.storage.rundir import PART_NAME, RunDir
from mmcsal.storage.tables import rows_of
from mmcsal.tuning.outcome import CHECK, PRESENT, SEARCH, Outcome, finalists_of, fragment_of, outcome_of
from mmcsal.tuning.page import render
from mmcsal.tuning.text import verdict
from mmcsal.tuning.trial import tuning_rows

FRAGMENT, PAGE = "tuned.yaml", "tuning.html"  # beside the folder, which holds a table
MAX_SHARE = 0.5  # of the part that is selected from: with more there is little to choose
FEWEST_PICKS = 10  # below, what picks are worth is mostly chance


def tune_lambdas(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Searches, checks the best settings and writes the table, the page and the YAML of the answer.

    Raises:
        InputError, TableError: labels, embeddings or budgets do not fit, or every setting was refused.
    """
    samples = tuning_samples(config, run_dir)
    budgets, warnings = budgets_of(config, samples, run_dir)
    trials = Trials(samples, config, budgets, run_dir)
    found = search(trials, progress)
    refused = [trial.refused for trial in found if trial.refused]
    if len(refused) == len(found):
        raise InputError(f"tune: every setting was refused, first: {refused[0]}")
    settings = {number: trial.settings for number, trial in enumerate(found, 1)}
    rows = [r for number, trial in enumerate(found, 1) for r in tuning_rows(number, trial.settings, SEARCH, trial.rows)]
    rows += trials.run_all({PRESENT: trials.present}, trials.search_seeds, SEARCH)
    finalists = {number: settings[number] for number in finalists_of(_table(rows), config.tune.num_finalists)}
    if not finalists:
        raise InputError("tune: nothing but the present settings was tried to the end; give tune.space more values")
    rows += trials.run_all({PRESENT: trials.present, **finalists}, trials.check_seeds, CHECK)
    table = _table(rows)
    outcome = outcome_of(table)
    run_dir.write_part(FOLDER, PART_NAME.format(0), table)
    run_dir.write_bytes(fragment_of(outcome, _heading(outcome, config)).encode(), FRAGMENT)
    run_dir.write_bytes(render(table, outcome), PAGE)
    warnings += [f"{len(refused)} settings were refused, first: {refused[0]}"] if refused else []
    counts = {"num_trials": len(found), "num_samples": len(samples)}
    return {**counts, **({"warnings": warnings} if warnings else {})}


def tuning(run_dir: RunDir) -> Outcome:
    """The outcome of a search that is complete."""
    return outcome_of(run_dir.read_part(FOLDER, PART_NAME.format(0)))


def tuning_samples(config: RunConfig, run_dir: RunDir) -> Samples:
    """The samples that trials select from and judge by: those with labels where there are any, else of the whole pool.

    Of more than `tune.max_samples` those of lowest hash.

    Raises:
        InputError, TableError: see `samples_with_labels`.
    """
    limit = config.tune.max_samples
    if not _has_labels(config, run_dir):
        filesystem, files = embedding_files(config, run_dir)
        return embedded_samples(files, filesystem, limit)
    samples = samples_with_labels(config, run_dir)
    lowest = np.argsort(hash_ids(samples.ids.tolist(), salt="tune"))[:limit]
    return samples.take(np.sort(lowest))


def budgets_of(config: RunConfig, samples: Samples, run_dir: RunDir) -> tuple[tuple[int | float, ...], list[str]]:
    """What trials may pick, and what the reader should know of it.

    Raises:
        InputError: a total cost, which is no share of the pool.
    """
    budgets: tuple[int | float, ...] | None = config.tune.budgets
    if budgets is None:
        asked = config.select.budget
        if isinstance(asked, TotalCost):
            raise InputError(
                "tune.budgets: select.budget is a total cost, and trials select from a part of the pool without costs; "
                "say which shares of it to pick, such as tune.budgets=[0.05]"
            )
        share = asked if isinstance(asked, float) else asked / _num_embedded(config, run_dir)
        budgets = (min(share, MAX_SHARE),)
    num_pool = len(samples) * (1 - config.evaluate.test_fraction)
    fewest = min(budget if isinstance(budget, int) else round(budget * num_pool) for budget in budgets)
    if fewest >= FEWEST_PICKS:
        return budgets, []
    return budgets, [
        f"trials pick {max(fewest, 1)} of about {num_pool:.0f} samples at the smallest budget, and what so few are "
        "worth is mostly chance; say tune.budgets with larger shares, or give more labels"
    ]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return conform(pa.Table.from_pylist(rows, TUNING), TUNING, name="tuning")


def _heading(outcome: Outcome, config: RunConfig) -> list[str]:
    """What a reader of the YAML has to know of it."""
    spec = config.tune
    seeds = f"{spec.num_seeds} seeds to search, {spec.num_check_seeds} fresh ones to check"
    return [f"mmcsal tune of {config.run_dir}: {seeds}.", *textwrap.wrap(verdict(outcome), 110)]


def _num_embedded(config: RunConfig, run_dir: RunDir) -> int:
    filesystem, files = embedding_files(config, run_dir)
    return rows_of(files, filesystem, where="embeddings").count_rows()


def _has_labels(config: RunConfig, run_dir: RunDir) -> bool:
    """Whether labels are named, or the manifest has some that differ."""
    if config.evaluate.labels is not None:
        return True
    labels = manifest_of(config, run_dir).to_table(columns=["label"])["label"]
    return len(labels.drop_null().unique()) > 1
