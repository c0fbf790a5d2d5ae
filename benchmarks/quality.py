"""What a selection is worth on real two-view data: `mmcsal evaluate`'s trials of every cold-start strategy.

Four sets (halves of digits, UCI mfeat pix and zer, Letter, Satellite), four conditions (clean; 10% or 20% of the pairs
shuffled; a 20:1 long tail with 10% shuffled; `benchmarks/conditions.py`), the budgets and the classifier of the
protocol. Pools of Letter and Satellite have 1500 rows, which a full run of 25 minutes on 2 cores allows. What becomes
of it where the second view says little, `benchmarks/sharing.py` measures.

Accuracies are averaged over sets and conditions seed by seed, so differences are paired. +- is their standard error
over the seeds, corrected for splits that overlap (Nadeau & Bengio 2003; `mmcsal.evaluation.statistics`), and so are the
p-values; in the table of accuracies it is the standard deviation over the seeds. Ranks are taken in every trial among
the cold starts, ablations aside. No choice was made on these seeds; a quick run takes others, and pools of 200 rows.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.conditions import AS_IT_IS, CONDITIONS, PAIRINGS, SETS, TEST_FRACTION, Place, pool_and_test, whole_set
from benchmarks.outcome import arguments, finish
from mmcsal.evaluation.spec import BASELINE, COLD_START, OURS, EvaluateSpec
from mmcsal.evaluation.statistics import Difference, Results, average_ranks, averaged, difference, results_of
from mmcsal.evaluation.table import SIGNIFICANT, lines_of, points_text, text_of
from mmcsal.evaluation.trial import PoolFacts, trial_rows

FOLDER = Path("runs/benchmark-quality")
MAX_POOL_ROWS = {"letter": 1500, "satellite": 1500}
SPEC = EvaluateSpec(groups=("cold_start", "ablations"), num_seeds=12, first_seed=3000)
QUICK_SETS, QUICK_POOL_ROWS = ("digits", "mfeat"), 200
QUICK_SPEC = EvaluateSpec(groups=("cold_start", "ablations"), num_seeds=2, budgets=(0.05, 0.20))
PEER, UNALIGNED = "kmeans_nearest", "mmcsal_no_alignment"
COLD_STARTS = tuple(contender.name for contender in COLD_START)
CHECKED_BUDGET = 0.05  # where random picks have to be beaten, and from where shuffled pairs are counted
MAX_SHUFFLED_SHARE, MIN_CLEAN_GAIN = 1 / 3, -0.002
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


# ---- one job ---------------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """All contenders and budgets on one pool."""

    place: Place
    seed: int
    spec: EvaluateSpec
    max_pool_rows: int | None = None


def run(job: Job) -> list[dict[str, Any]]:
    """Rows of TRIAL with their place."""
    pool, test = pool_and_test(job.place, job.seed, job.max_pool_rows)
    facts = PoolFacts(pool, job.seed)
    return [
        {**job.place._asdict(), **row}
        for contender in job.spec.all_contenders
        for row in trial_rows(pool, test, contender, job.spec, job.seed, facts)
    ]


# ---- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """The results at every place, and what is made of all of them or of those of one set or condition (`of`)."""

    accuracy: Mapping[Place, Results]
    shuffled: Mapping[Place, Results]  # share of shuffled pairs among the picks / in the pool; nan where there are none

    @staticmethod
    def of_rows(rows: Sequence[Mapping[str, Any]]) -> "Study":
        """Of what jobs gave, in any order of the jobs."""
        found: dict[Place, list[Mapping[str, Any]]] = {}
        for row in rows:
            found.setdefault(Place(row["set_name"], row["condition"]), []).append(row)
        order = [Place(set_name, condition) for set_name in SETS for condition in CONDITIONS]
        tables = {place: pa.Table.from_pylist(found[place]) for place in order if place in found}
        accuracy, shuffled = (
            {place: _results(table, figure) for place, table in tables.items()}
            for figure in ("accuracy", "misaligned_share")
        )
        return Study(accuracy, shuffled)

    @property
    def names(self) -> list[str]:
        """The conditions, then the sets."""
        found = [*(place.condition for place in self.accuracy), *(place.set_name for place in self.accuracy)]
        return list(dict.fromkeys(found))

    def mean(self, of: str | None = None) -> Results:
        return averaged(list(_chosen(self.accuracy, of)))

    def ranks(self, of: str | None = None, among: Sequence[str] = COLD_STARTS) -> dict[str, float]:
        """Average rank of these strategies."""
        found = [average_ranks(results, among) for results in _chosen(self.accuracy, of)]
        return {name: float(np.mean([ranks[name] for ranks in found])) for name in among}

    def shares(self, strategy: str, condition: str) -> dict[float, float]:
        """By budget, the share of shuffled pairs among the picks / in the pool."""
        results = averaged(list(_chosen(self.shuffled, condition)))
        return dict(zip(results.budgets, results.of(strategy).mean(axis=1).tolist(), strict=True))

    def less(self, other: str) -> dict[str, Difference]:
        """MMCSAL less another strategy: at each budget, over all of them, of each condition, of each set."""
        whole = self.mean()
        found = {f"{budget:.0%}": difference(whole, OURS, other, budget) for budget in whole.budgets}
        found["all"] = difference(whole, OURS, other)
        return found | {name: difference(self.mean(name), OURS, other) for name in self.names}


def _results(trials: pa.Table, figure: str) -> Results:
    """The ratio of the split: that pools are cut afterwards makes those of two seeds overlap less, never more."""
    return replace(results_of(trials, figure), test_ratio=TEST_FRACTION / (1 - TEST_FRACTION))


def _chosen(results: Mapping[Place, Results], of: str | None) -> Iterable[Results]:
    return (found for place, found in results.items() if of is None or of in place)


# ---- tables and targets ----------------------------------------------------------------------------------------------


def print_tables(study: Study) -> None:
    whole, ranks = study.mean(), study.ranks()
    print("\nall sets and conditions: ", end="")
    print(*text_of(whole, ranks), sep="\n")
    names = sorted(ranks, key=lambda name: ranks[name])
    others = [*(name for name in names if name != OURS), *(n for n in whole.strategies if n not in ranks)]
    less = {name: study.less(name) for name in others}
    num_left = len(whole.budgets) + 1
    for columns in (list(less[PEER])[:num_left], study.names):
        _head("mmcsal less, in points", columns)
        for name, found in less.items():
            _row(name, [points_text(found[column]) for column in columns])
    ranks_by_name = {name: study.ranks(name) for name in study.names}
    _head("average rank", study.names)
    for name in names:
        _row(name, [f"{found[name]:.2f}" for found in ranks_by_name.values()])
    _head("shuffled / pool's", [f"{budget:.0%}" for budget in whole.budgets])
    for name in (OURS, UNALIGNED, PEER):
        for condition in _shuffled_conditions(study):
            _row(f"{name}, {condition}", [f"{share:.2f}" for share in study.shares(name, condition).values()])


def _shuffled_conditions(study: Study) -> list[str]:
    return [name for name in study.names if name in CONDITIONS and CONDITIONS[name].shuffled]


def _head(title: str, columns: Sequence[str]) -> None:
    print()
    _row(title, columns)


def _row(title: str, cells: Sequence[str]) -> None:
    print(f"{title:38}" + "".join(f"{cell:>17}" for cell in cells))


def checks_of(study: Study) -> dict[str, bool]:
    """What has to hold of all sets."""
    whole, ranks = study.mean(), study.ranks()
    best_other = min(rank for name, rank in ranks.items() if name != OURS)
    few = difference(whole, OURS, BASELINE, CHECKED_BUDGET)
    peer = difference(whole, OURS, PEER)
    checks = {
        f"{OURS}: the best average rank of {len(ranks)} cold-start strategies": ranks[OURS] < best_other,
        f"{OURS} - {BASELINE} at {CHECKED_BUDGET:.0%}: above 0 with p < {SIGNIFICANT}": few.mean > 0
        and few.p_value < SIGNIFICANT,
        f"{OURS} - {PEER}, mean over budgets: above 2 standard errors": peer.mean > 2 * peer.standard_error,
    }
    for budget in whole.budgets:
        found = difference(whole, OURS, PEER, budget)
        told = f"{OURS} - {PEER} at {budget:.0%}: not below 0 by more than 2 standard errors"
        checks[told] = found.mean >= -2 * found.standard_error
    for condition in ("10% shuffled", "20% shuffled"):
        for budget, share in study.shares(OURS, condition).items():
            if budget >= CHECKED_BUDGET:
                told = f"{condition}, budget {budget:.0%}: at most a third of the pool's share is picked"
                checks[told] = share <= MAX_SHUFFLED_SHARE
    clean = difference(study.mean(AS_IT_IS), OURS, UNALIGNED)
    checks[f"{AS_IT_IS}: {OURS} - {UNALIGNED} >= {100 * MIN_CLEAN_GAIN:.1f} points"] = clean.mean >= MIN_CLEAN_GAIN
    return checks


def figures_of(study: Study) -> dict[str, Any]:
    """What the dated file keeps: the table in points; differences as [mean, standard error, p-value]; ranks; shares."""
    whole, ranks = study.mean(), study.ranks()
    others = [name for name in whole.strategies if name != OURS]
    return {
        "table": [asdict(line) for line in lines_of(whole, ranks)],
        "average_rank": {name: study.ranks(name) for name in study.names},
        "mmcsal_less": {
            other: {
                name: [100 * found.mean, 100 * found.standard_error, found.p_value]
                for name, found in study.less(other).items()
            }
            for other in others
        },
        "shuffled_share": {
            name: {condition: list(study.shares(name, condition).values()) for condition in _shuffled_conditions(study)}
            for name in (OURS, UNALIGNED, PEER)
        },
    }


# ---- the run ---------------------------------------------------------------------------------------------------------


def main() -> None:
    args = arguments(__doc__)
    set_names, spec = (QUICK_SETS, QUICK_SPEC) if args.quick else (tuple(SETS), SPEC)
    max_rows = dict.fromkeys(set_names, QUICK_POOL_ROWS) if args.quick else MAX_POOL_ROWS
    for set_name in set_names:
        whole_set(set_name)  # downloads once, before the workers read it
    jobs = [
        Job(Place(set_name, condition), seed, spec, max_rows.get(set_name))
        for seed in range(spec.first_seed, spec.first_seed + spec.num_seeds)
        for condition in PAIRINGS
        for set_name in set_names
    ]
    rows = run_all(jobs)
    FOLDER.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), FOLDER / "trials.parquet")
    study = Study.of_rows(rows)
    print_tables(study)
    less = {name: points_text(difference(study.mean(), OURS, name)) for name in (PEER, BASELINE)}
    line = (
        f"average rank of {OURS} among {len(COLD_STARTS)} strategies: {study.ranks()[OURS]:.2f}; accuracy in points, "
        f"{OURS} - {PEER}: {less[PEER]} (target: above 2 standard errors); {OURS} - {BASELINE}: {less[BASELINE]}"
    )
    scale = {"sets": list(set_names), "budgets": list(spec.budgets), "num_seeds": spec.num_seeds}
    finish("quality", {} if args.quick else checks_of(study), scale | figures_of(study), line, args)


def run_all(jobs: Sequence[Job], num_processes: int | None = None) -> list[dict[str, Any]]:
    """The rows of all jobs, one thread a process; as many processes as there are CPUs where no number is given."""
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    rows: list[dict[str, Any]] = []
    start_s = time.perf_counter()
    with get_context("spawn").Pool(num_processes or os.cpu_count()) as workers:
        for done, found in enumerate(workers.imap_unordered(run, jobs), 1):
            rows += found
            if done % 16 == 0:
                print(f"{done} of {len(jobs)} jobs, {time.perf_counter() - start_s:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    main()
