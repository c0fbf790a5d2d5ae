"""Trials of settings as tasks, and the search that suggests them with Ray Tune.

A trial selects in its own process, from samples that all trials share: it starts no tasks, so trials that fill every
CPU cannot wait for each other. What a setting is worth on a seed is kept when it is known. A killed search begins anew
and suggests the same settings, and those that are known cost nothing: Ray Tune's own state would be of what happened to
be under way, and files that are not written whole.
"""

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.stages import TUNE
from mmcsal.evaluation.samples import Samples
from mmcsal.selection.spec import SelectSpec
from mmcsal.storage.rundir import RunDir
from mmcsal.tuning.spec import Choice, Settings, TuneSpec, settings_of, simulated, takes_whole_numbers, with_settings
from mmcsal.tuning.trial import measure, tuning_rows

FOLDER = TUNE.folder
# Below it, where readers of tables pass over them: what is known of each setting and seed, and Ray Tune's own.
MEASURED, RAY_TUNE_NAME = "_measured", "_ray_tune"
REFUSED = -1.0  # score of settings that a strategy refuses: below every accuracy and coverage
DIGITS = 4  # of a value drawn from a range: more make no difference, and do not read well
ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command as it does in every stage
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the results are in our table
    "RAY_AIR_NEW_OUTPUT": "0",  # prints, however quiet it is set
}


@dataclass(frozen=True)
class SearchTrial:
    """One trial of the search, at its end."""

    settings: Settings
    rows: list[dict[str, Any]]
    refused: str | None  # what the strategy said


class TrialProgress(tune.Callback):
    """Shows how many trials have ended. Tune saves its callbacks; what is shown on cannot be saved and stays behind."""

    def __init__(self, show: Callable[[int], Any] | None = None) -> None:
        self._show = show

    def __reduce__(self) -> tuple[type["TrialProgress"], tuple[()]]:
        return TrialProgress, ()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self._show is not None:
            self._show(sum(one.is_finished() for one in trials))


class Trials:
    """What all trials share."""

    def __init__(self, samples: Samples, config: RunConfig, budgets: tuple[int | float, ...], run_dir: RunDir) -> None:
        self.spec = config.tune
        self.seed = config.seed
        self.run_dir = run_dir
        self.present: Settings = settings_of(config.select, list(self.spec.space))
        first, num_seeds = self.spec.first_seed, self.spec.num_seeds
        self.search_seeds = range(first, first + num_seeds)
        self.check_seeds = range(first + num_seeds, first + num_seeds + self.spec.num_check_seeds)
        judge = config.evaluate
        judge_options = {"budgets": budgets, "test_fraction": judge.test_fraction, "probe_c": judge.probe_c}
        self._cache = TrialCache(simulated(config.select), judge_options, run_dir)
        self._samples, self._samples_ref = samples, ray.put(samples)

    def trainable(self) -> Any:
        """For Ray Tune."""
        function = tune.with_parameters(
            _search_trial,
            samples=self._samples,
            cache=self._cache,
            spec=self.spec,
            seeds=self.search_seeds,
        )
        return tune.with_resources(function, {"CPU": 1})

    def run_all(self, settings: dict[int, Settings], seeds: range, phase: str) -> list[dict[str, Any]]:
        """TUNING rows of settings by number, on every seed.

        Raises:
            InputError: a strategy refuses the pool.
        """
        pairs = list(itertools.product(settings, seeds))
        refs = [_measured.remote(self._cache, self._samples_ref, settings[number], seed) for number, seed in pairs]
        return [
            row
            for (number, _), rows in zip(pairs, ray.get(refs), strict=True)
            for row in tuning_rows(number, settings[number], phase, rows)
        ]


@dataclass(frozen=True)
class TrialCache:
    """Measures settings, and keeps in the run directory what it has found. Safe to pickle."""

    select: SelectSpec
    judge_options: dict[str, Any]
    run_dir: RunDir

    def rows(self, samples: Samples, settings: Settings, seed: int) -> list[dict[str, Any]]:
        """Of a setting on a seed; see `measure`."""
        digest = blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()
        place = (FOLDER, MEASURED, f"{digest}-{seed}.json")
        if self.run_dir.exists(*place):
            return self.run_dir.read_json(*place)["rows"]
        # Present settings that a strategy has no key for (None) are left as they are.
        values = {key: value for key, value in settings.items() if value is not None}
        rows = measure(samples, with_settings(self.select, values), seed=seed, **self.judge_options)
        self.run_dir.write_json({"settings": settings, "rows": rows}, *place)
        return rows


def search(trials: Trials, progress: Progress) -> list[SearchTrial]:
    """The trials in the order in which they were suggested.

    Raises what a trial raised that is no refusal: a defect, or a loss that is worth another try.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = trials.spec
    grid_size = prod(len(axis.values) for axis in spec.space.values() if isinstance(axis, Choice))
    num_trials = grid_size if spec.search == "grid" else spec.num_trials
    results = _tuner(trials, lambda num_done: progress(num_done, num_trials)).fit()
    if results.errors:
        raise results.errors[0]
    reports = [result.metrics or {} for result in results]
    return [SearchTrial(last["settings"], last.get("rows", []), last.get("refused")) for last in reports]


def _tuner(trials: Trials, show: Callable[[int], Any]) -> tune.Tuner:
    run_dir = trials.run_dir
    if run_dir.exists(FOLDER, RAY_TUNE_NAME):  # of a search that was killed
        run_dir.filesystem.delete_dir(run_dir.path(FOLDER, RAY_TUNE_NAME))
    spec = trials.spec
    is_grid = spec.search == "grid"
    return tune.Tuner(
        trials.trainable(),
        param_space={key: _domain(key, axis, is_grid) for key, axis in spec.space.items()},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=1 if is_grid else spec.num_trials,
            search_alg=_search_algorithm(spec, trials.present, trials.seed), scheduler=_scheduler(spec),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=RAY_TUNE_NAME, storage_path=run_dir.place(FOLDER), verbose=0,
            storage_filesystem=None if run_dir.is_local else run_dir.filesystem,
            callbacks=[TrialProgress(show)], failure_config=tune.FailureConfig(max_failures=3),
        ),
    )  # fmt: skip


def _domain(key: str, axis: Any, is_grid: bool) -> Any:
    """Ray Tune's form of an axis; of choices the place in the list, since a value may be anything."""
    if isinstance(axis, Choice):
        places = list(range(len(axis.values)))
        return tune.grid_search(places) if is_grid else tune.choice(places)
    if takes_whole_numbers(key, axis):
        low, high = int(axis.low), int(axis.high) + 1
        return tune.lograndint(low, high) if axis.log else tune.randint(low, high)
    return tune.loguniform(axis.low, axis.high) if axis.log else tune.uniform(axis.low, axis.high)


def _search_algorithm(spec: TuneSpec, present: Settings, seed: int) -> Any:
    if spec.search != "optuna":
        return BasicVariantGenerator(random_state=seed)
    point = {key: _place(axis, present[key]) for key, axis in spec.space.items()}
    known = [] if None in point.values() else [point]  # begin where we are
    # In whole batches: what is suggested next does not depend on which trial ends first.
    return ConcurrencyLimiter(OptunaSearch(points_to_evaluate=known, seed=seed), spec.num_at_once, batch=True)


def _place(axis: Any, value: Any) -> Any:
    """A value in the form of `_domain`; None where the axis has no such value."""
    if isinstance(axis, Choice):
        return axis.values.index(value) if value in axis.values else None
    is_inside = isinstance(value, int | float) and axis.low <= value <= axis.high
    return value if is_inside else None


def _scheduler(spec: TuneSpec) -> TrialScheduler:
    if not spec.early_stop:
        return FIFOScheduler()
    return ASHAScheduler(max_t=spec.num_seeds, grace_period=min(2, spec.num_seeds), reduction_factor=2)


def _search_trial(point: dict[str, Any], *, samples: Samples, cache: TrialCache, spec: TuneSpec, seeds: range) -> None:
    """Reports after each seed the mean so far, and all rows so far."""
    settings = _settings_at(point, spec)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        try:
            rows += cache.rows(samples, settings, seed)
        except InputError as error:
            tune.report({"score": REFUSED, "settings": settings, "refused": str(error)})
            return
        figure = "accuracy" if samples.has_labels else "coverage"
        score = float(np.mean([row[figure] for row in rows]))
        tune.report({"score": score, "settings": settings, "rows": list(rows)})


def _settings_at(point: dict[str, Any], spec: TuneSpec) -> Settings:
    """The values that a point of the search space stands for."""
    settings: Settings = {}
    for key, axis in spec.space.items():
        value = point[key]
        if isinstance(axis, Choice):
            settings[key] = axis.values[value]
        else:
            settings[key] = float(f"{value:.{DIGITS}g}") if isinstance(value, float) else int(value)
    return settings


@ray.remote(num_cpus=1)
def _measured(cache: TrialCache, samples: Samples, settings: Settings, seed: int) -> list[dict[str, Any]]:
    return cache.rows(samples, settings, seed)
