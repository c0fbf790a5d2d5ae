"""What the selection is worth on real two-view data: the accuracy of a classifier that learns from the picks alone.

Four sets (digits, UCI mfeat pix+fou, Letter, Satellite), four conditions (clean; 10% or 20% of the pairs shuffled; a
20:1 long tail with 10% shuffled), budgets of 1 to 20% of the pool. For each seed a stratified third of the rows, at
most 2000, is the test: it keeps the set's own class shares and is never shuffled. The rest is the pool: first its
classes are cut to a long tail, then it is subsampled (Letter to 2500, Satellite to 2000 rows), then shuffled. A
shuffled pair has the label of its first view. Every arm sees the same pool of a seed and no label; a logistic
regression (C = 10, on both views at unit norm) learns from the picks and their labels.

Differences are paired by set, condition, budget and seed, averaged within a seed first; +- is the standard error over
the seeds. No choice was made on these seeds; a quick run takes others.
"""

import itertools
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pools
from benchmarks.outcome import arguments, finish
from benchmarks.pools import Pool
from mmcsal.selection import MmcsalSpec, SelectSpec, select_pairs

FOLDER = Path("runs/benchmark-quality")
SETS = {"digits": pools.digits, "mfeat": pools.mfeat, "letter": pools.letter, "satellite": pools.satellite}
MAX_POOL_ROWS = {"letter": 2500, "satellite": 2000}
MAX_TEST_ROWS = 2000
BUDGETS = (0.01, 0.02, 0.05, 0.10, 0.20)
FIRST_SEED, NUM_SEEDS = 1000, 20
C_OF_PROBE = 10.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Condition:
    """What is done to the pool of a set."""

    shuffled: float = 0.0  # share of the pairs whose second view is another pair's
    tail_ratio: float = 1.0  # the largest class against the smallest; 1 leaves the classes as they are


CONDITIONS = {
    "clean": Condition(),
    "10% shuffled": Condition(shuffled=0.1),
    "20% shuffled": Condition(shuffled=0.2),
    "long tail + 10%": Condition(shuffled=0.1, tail_ratio=20),
}


# ---- arms: pool, number of picks, seed -> the rows picked ------------------------------------------------------------


def selected(pool: Pool, budget: int, seed: int, **changes: Any) -> np.ndarray:
    """The picks of `select_pairs`, with these changes to the default spec."""
    selection = select_pairs(pool.a_ND, pool.v_ND, budget, config=SelectSpec(**changes), seed=seed)
    return np.array([int(sample_id) for sample_id in selection.sample_ids])


def kmeans_nearest(pool: Pool, budget: int, seed: int) -> np.ndarray:
    """The sample nearest to each centre of k-means on the joint embedding; one that is taken is passed over."""
    from sklearn.cluster import KMeans

    z_ND = joint(pool)
    centre_KD = KMeans(budget, n_init=1, random_state=seed).fit(z_ND).cluster_centers_
    distance_KN = (centre_KD**2).sum(1, keepdims=True) - 2 * centre_KD @ z_ND.T  # less |z|^2, which is 1 everywhere
    picks: list[int] = []
    for distance_N in distance_KN:
        distance_N[picks] = np.inf
        picks.append(int(distance_N.argmin()))
    return np.array(picks)


def at_random(pool: Pool, budget: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(pool), budget, replace=False)


Arm = Callable[[Pool, int, int], np.ndarray]
ARMS: dict[str, Arm] = {
    "default": selected,
    "no swap": partial(selected, strategy=MmcsalSpec(max_swap_passes=0)),
    "no alignment": partial(selected, lambda_align=0, num_anchors=8),  # unused anchors, most of the time: same picks
    "k-means nearest": kmeans_nearest,
    "random": at_random,
}
OTHERS = ("k-means nearest", "random", "no swap", "no alignment")  # what the default is compared with


# ---- one job ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """The pool that the arms select from, which of its rows are shuffled, and the test."""

    pool: Pool
    is_shuffled_N: np.ndarray
    test: Pool


def job(
    set_name: str,
    condition: str,
    seed: int,
    budgets: Sequence[float] = BUDGETS,
    arms: Mapping[str, Arm] = ARMS,
) -> list[dict[str, Any]]:
    """One record for each budget and arm on one trial.

    A record holds accuracy in points, classes (the share of the pool's classes among the picks) and shuffled (the
    share of shuffled pairs among the picks / in the pool; None where the pool has none).
    """
    trial = trial_of(set_name, condition, seed)
    records = []
    for budget, (arm, pick) in itertools.product(budgets, arms.items()):
        picks = pick(trial.pool, max(round(budget * len(trial.pool)), 1), seed)
        key = {"set": set_name, "condition": condition, "seed": seed, "budget": budget, "arm": arm}
        records.append({**key, **_measure(trial, picks)})
    return records


def trial_of(set_name: str, condition: str, seed: int) -> Trial:
    """The same split for all conditions of a seed."""
    from sklearn.model_selection import train_test_split

    whole, what = _whole(set_name), CONDITIONS[condition]
    assert whole.label_N is not None
    pool_rows, test_rows = train_test_split(
        np.arange(len(whole)), test_size=1 / 3, stratify=whole.label_N, random_state=seed
    )
    if len(test_rows) > MAX_TEST_ROWS:
        test_rows, _ = train_test_split(
            test_rows, train_size=MAX_TEST_ROWS, stratify=whole.label_N[test_rows], random_state=seed
        )
    pool = whole.take(pool_rows)
    if what.tail_ratio > 1:
        pool = pools.long_tail(pool, what.tail_ratio, seed)
    kept = np.random.default_rng(seed).permutation(len(pool))[: MAX_POOL_ROWS.get(set_name)]
    return Trial(*pools.shuffled(pool.take(kept), what.shuffled, seed), whole.take(test_rows))


def joint(pool: Pool) -> np.ndarray:
    """Both views at unit norm, side by side, / sqrt 2."""
    views = [view_ND / np.linalg.norm(view_ND, axis=1, keepdims=True) for view_ND in (pool.a_ND, pool.v_ND)]
    return np.hstack(views) / np.sqrt(2)


_whole = cache(lambda set_name: SETS[set_name]())


def _measure(trial: Trial, picks: np.ndarray) -> dict[str, float | None]:
    learned = trial.pool.take(picks)
    share = trial.is_shuffled_N.mean()
    return {
        "accuracy": 100 * _accuracy(learned, trial.test),
        "classes": len(np.unique(learned.label_N)) / len(np.unique(trial.pool.label_N)),
        "shuffled": float(trial.is_shuffled_N[picks].mean() / share) if share else None,
    }


def _accuracy(learned: Pool, test: Pool) -> float:
    from sklearn.linear_model import LogisticRegression

    assert learned.label_N is not None
    if len(np.unique(learned.label_N)) == 1:  # nothing to learn: it can only say this class
        return float((test.label_N == learned.label_N[0]).mean())
    x_ND, x_test_ND = (np.sqrt(2) * joint(pool) for pool in (learned, test))  # each view at unit norm
    probe = LogisticRegression(C=C_OF_PROBE, max_iter=2000)
    with warnings.catch_warnings():  # many classes among few picks are no mistake
        warnings.filterwarnings("ignore", message="The number of unique classes")
        probe.fit(x_ND, learned.label_N)
    return float(probe.score(x_test_ND, test.label_N))


# ---- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """Figures of all jobs as arrays over arms, sets (T), conditions, budgets and seeds (R)."""

    arms: tuple[str, ...]
    sets: tuple[str, ...]
    conditions: tuple[str, ...]
    budgets: tuple[float, ...]
    figures_ATCBR: dict[str, np.ndarray]  # by name of the figure: accuracy, classes, shuffled; nan where unknown

    @staticmethod
    def of(records: Sequence[Mapping[str, Any]]) -> "Results":
        """The results of records in any order."""
        keys = ("arm", "set", "condition", "budget", "seed")
        found = {key: dict.fromkeys(record[key] for record in records) for key in keys}
        axes = {
            "arm": list(found["arm"]),
            "set": [name for name in SETS if name in found["set"]],
            "condition": [name for name in CONDITIONS if name in found["condition"]],
            "budget": sorted(found["budget"]),
            "seed": sorted(found["seed"]),
        }
        figures = {name: np.full([*map(len, axes.values())], np.nan) for name in ("accuracy", "classes", "shuffled")}
        for record in records:
            place = tuple(names.index(record[key]) for key, names in axes.items())
            for name, array in figures.items():
                array[place] = np.nan if record[name] is None else record[name]
        arms, sets, conditions, budgets, _ = map(tuple, axes.values())
        return Results(arms, sets, conditions, budgets, figures)

    def difference(self, other: str, where: tuple[Any, ...] = (), *, arm: str = "default") -> tuple[float, float]:
        """Accuracy of an arm less another arm's, in points, and its standard error over the seeds.

        `where` indexes sets, conditions, budgets as `at` does; what it leaves is averaged.
        """
        accuracy_ATCBR = self.figures_ATCBR["accuracy"]
        difference_TCBR = accuracy_ATCBR[self.arms.index(arm)] - accuracy_ATCBR[self.arms.index(other)]
        by_seed_R = difference_TCBR[where].mean(axis=(0, 1, 2))
        return float(by_seed_R.mean()), float(by_seed_R.std(ddof=1) / np.sqrt(len(by_seed_R)))

    def mean(self, name: str, arm: str, where: tuple[Any, ...] = ()) -> float:
        """A figure of one arm, averaged over what `where` leaves."""
        return float(self.figures_ATCBR[name][self.arms.index(arm)][where].mean())


def at(*, sets: Any = None, conditions: Any = None, budgets: Any = None) -> tuple[slice, slice, slice]:
    """An index of results by positions, each one number, a slice or None for all."""
    set_, condition, budget = (
        slice(None) if one is None else slice(one, one + 1) if isinstance(one, int) else one
        for one in (sets, conditions, budgets)
    )
    return set_, condition, budget


# ---- tables and targets ----------------------------------------------------------------------------------------------


def print_tables(results: Results) -> None:
    budgets = [f"{budget:.0%}" for budget in results.budgets]
    by_budget = [at(budgets=i) for i in range(len(budgets))]
    by_condition = [at(conditions=i) for i in range(len(results.conditions))]
    by_set = [at(sets=i) for i in range(len(results.sets))]
    for heads, places in ((budgets, by_budget), (results.conditions, by_condition), (results.sets, by_set)):
        _head("accuracy, points: default -", [*heads, "all"])
        for other in OTHERS:
            cells = [results.difference(other, where) for where in (*places, at())]
            _row(other, [f"{mean:+.2f} +- {error:.2f}" for mean, error in cells])
    _head("share of the classes", [*budgets, "all"])
    for arm in results.arms:
        _row(arm, [f"{results.mean('classes', arm, where):.3f}" for where in (*by_budget, at())])
    for arm, (i, condition) in itertools.product(("default", "no alignment"), enumerate(results.conditions)):
        if not CONDITIONS[condition].shuffled:
            continue
        _head(f"shuffled / pool's: {arm}, {condition}", budgets)
        for name, set_ in ("mean", None), *((name, j) for j, name in enumerate(results.sets)):
            places = [at(sets=set_, conditions=i, budgets=j) for j in range(len(budgets))]
            _row(name, [f"{results.mean('shuffled', arm, where):.2f}" for where in places])


def _head(title: str, columns: Sequence[str]) -> None:
    print()
    _row(title, columns)


def _row(title: str, cells: Sequence[str]) -> None:
    print(f"{title:48}" + "".join(f"{cell:>17}" for cell in cells))


def checks_of(results: Results) -> dict[str, bool]:
    all_mean, all_error = results.difference("k-means nearest")
    clean, few = results.conditions.index("clean"), results.budgets.index(0.05)
    checks = {"default - k-means nearest, all budgets: above 2 standard errors": all_mean > 2 * all_error}
    for i, budget in enumerate(results.budgets):
        mean, error = results.difference("k-means nearest", at(budgets=i))
        checks[f"default - k-means nearest at {budget:.0%}: not below 0 by more than 2 standard errors"] = (
            mean >= -2 * error
        )
    for condition, i in itertools.product(("10% shuffled", "20% shuffled"), range(few, len(results.budgets))):
        where = at(conditions=results.conditions.index(condition), budgets=i)
        checks[f"{condition}, budget {results.budgets[i]:.0%}: at most a third of the pool's share is picked"] = (
            results.mean("shuffled", "default", where) <= 1 / 3
        )
    checks["clean: default - no alignment >= -.2 points"] = (
        results.difference("no alignment", at(conditions=clean))[0] >= -0.2
    )
    return checks


def figures_of(results: Results) -> dict[str, Any]:
    """What the dated file keeps: differences [mean, standard error] and shares, by budget and by condition."""
    places = {"all": at()}
    places |= {f"budget {budget:.0%}": at(budgets=i) for i, budget in enumerate(results.budgets)}
    places |= {condition: at(conditions=i) for i, condition in enumerate(results.conditions)}
    return {
        "default_less": {
            other: {name: list(results.difference(other, where)) for name, where in places.items()} for other in OTHERS
        },
        "shuffled_share": {
            arm: {
                condition: [
                    results.mean("shuffled", arm, at(conditions=i, budgets=j)) for j in range(len(results.budgets))
                ]
                for i, condition in enumerate(results.conditions)
                if CONDITIONS[condition].shuffled
            }
            for arm in ("default", "no alignment")
        },
    }


# ---- the run ---------------------------------------------------------------------------------------------------------


def main() -> None:
    args = arguments(__doc__)
    set_names, budgets, num_seeds = (
        (("digits", "mfeat"), (0.05, 0.20), 2) if args.quick else (tuple(SETS), BUDGETS, NUM_SEEDS)
    )
    for set_name in set_names:
        _whole(set_name)  # downloads once, before the workers read it
    first_seed = 0 if args.quick else FIRST_SEED
    seeds = range(first_seed, first_seed + num_seeds)
    tasks = [(name, condition, seed, budgets) for seed in seeds for condition in CONDITIONS for name in set_names]
    os.environ.update(ONE_THREAD)
    records: list[dict[str, Any]] = []
    start_s = time.perf_counter()
    with get_context("spawn").Pool(os.cpu_count()) as workers:
        for done, found in enumerate(workers.imap_unordered(_job, tasks), 1):
            records += found
            if done % 16 == 0:
                print(f"{done} of {len(tasks)} jobs, {time.perf_counter() - start_s:.0f} s", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "records.json").write_text(json.dumps(records))
    results = Results.of(records)
    print_tables(results)
    mean, error = results.difference("k-means nearest")
    random_mean, random_error = results.difference("random")
    line = (
        f"accuracy in points, default - k-means nearest: {mean:+.2f} +- {error:.2f} (target: above 2 standard errors); "
        f"default - random: {random_mean:+.2f} +- {random_error:.2f}"
    )
    figures = {"sets": list(set_names), "budgets": list(budgets), "num_seeds": num_seeds, **figures_of(results)}
    finish("quality", {} if args.quick else checks_of(results), figures, line, args)


def _job(task: tuple[str, str, int, tuple[float, ...]]) -> list[dict[str, Any]]:
    return job(*task)


if __name__ == "__main__":
    main()
