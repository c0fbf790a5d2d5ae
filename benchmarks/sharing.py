"""What coverage is worth that knows what the modalities share: real sets whose second view says all, half or nothing.

The sets, splits and classifier of `benchmarks/quality.py`. The second view is as it is, by half that of another set, or
wholly: structure that says nothing of the class. `coverage` joint, separate and auto are compared with each other, with
the same selection by either view alone (which one says more, nobody knows without labels), and with k-means nearest.

Accuracies are averaged over the sets seed by seed; errors and p-values as in `benchmarks/quality.py`. The rule by which
auto finds its share was chosen on seeds from 700 to 799, and nothing on these. Pools are cut to 700 rows and one
process does all, so that a run ends in half an hour beside other work; of so few rows 1% is no budget.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.conditions import AS_IT_IS, HALF_SHARED, NOTHING_SHARED, SETS, SHARES, Place, whole_set
from benchmarks.outcome import arguments, finish
from benchmarks.quality import Job, Study, run_all
from mmcsal.evaluation.spec import BASELINE, Contender, EvaluateSpec, Modality
from mmcsal.evaluation.statistics import Difference, difference
from mmcsal.evaluation.table import points_text, text_of

FOLDER = Path("runs/benchmark-sharing")
MAX_POOL_ROWS, QUICK_POOL_ROWS, QUICK_SETS = 700, 200, ("digits", "mfeat")
JOINT, SEPARATE, AUTO, PEER = "mmcsal_joint", "mmcsal_separate", "mmcsal_auto", "kmeans_nearest"
ALONE = ("mmcsal_a", "mmcsal_v")
VIEWS: tuple[Modality, ...] = ("a", "v")

CONTENDERS = (
    Contender(name=BASELINE, select={"strategy": {"kind": "random"}, "lambda_align": 0}),
    Contender(name=PEER, select={"strategy": {"kind": PEER}, "lambda_align": 0}),
    Contender(name=JOINT, select={"coverage": "joint"}),
    Contender(name=SEPARATE, select={"coverage": "separate"}),
    Contender(name=AUTO, select={"coverage": "auto"}),
    *(Contender(name=f"mmcsal_{view}", modality=view) for view in VIEWS),
)
NAMES = tuple(contender.name for contender in CONTENDERS)
FEW = (0.02, 0.05)  # budgets at which picks count most
SPEC = EvaluateSpec(groups=(), contenders=CONTENDERS, budgets=(0.02, 0.05, 0.2), num_seeds=12, first_seed=3100)
QUICK_SPEC = SPEC.model_copy(update={"budgets": FEW, "num_seeds": 1, "first_seed": 790})
MAX_LOSS, HALF_GAIN, NOTHING_GAIN, MAX_BEHIND = 0.003, 0.01, 0.02, 0.015


def less(study: Study, name: str, other: str, condition: str, budget: float | None = None) -> Difference:
    """Of two strategies under a condition; without a budget, in the mean over all of them."""
    return difference(study.mean(condition), name, other, budget)


def few_gain(study: Study, name: str, other: str, condition: str) -> float:
    """The same in the mean over the small budgets."""
    return float(np.mean([less(study, name, other, condition, budget).mean for budget in FEW]))


def checks_of(study: Study) -> dict[str, bool]:
    """What has to hold of all sets."""
    ranks = study.ranks(among=NAMES)
    behind = {view: few_gain(study, view, AUTO, NOTHING_SHARED) for view in ALONE}
    checks = {
        f"{AS_IT_IS}, budget {budget:.0%}: at most {100 * MAX_LOSS:.1f} points below joint": less(
            study, AUTO, JOINT, AS_IT_IS, budget
        ).mean
        >= -MAX_LOSS
        for budget in SPEC.budgets
    }
    return checks | {
        f"{HALF_SHARED}: +{100 * HALF_GAIN:.0f} point over joint": few_gain(study, AUTO, JOINT, HALF_SHARED)
        >= HALF_GAIN,
        f"{NOTHING_SHARED}: +{100 * NOTHING_GAIN:.0f} points over joint": few_gain(study, AUTO, JOINT, NOTHING_SHARED)
        >= NOTHING_GAIN,
        f"{NOTHING_SHARED}: at most {100 * MAX_BEHIND:.1f} points below the better view alone": max(behind.values())
        <= MAX_BEHIND,
        f"{AUTO}: the best average rank of {len(NAMES)}": min(ranks, key=lambda name: ranks[name]) == AUTO,
    }


def print_tables(study: Study) -> None:
    for condition in SHARES:
        print(f"\n{condition}: ", end="")
        print(*text_of(study.mean(condition), study.ranks(condition, NAMES)), sep="\n")
        for other in (JOINT, SEPARATE, *ALONE, PEER):
            found = [points_text(less(study, AUTO, other, condition, budget)) for budget in (*SPEC.budgets, None)]
            print(f"{f'{AUTO} less {other}':34}" + "".join(f"{text:>16}" for text in found))


def figures_of(study: Study) -> dict[str, Any]:
    """By condition: accuracies in points by budget; AUTO's differences as [mean, standard error, p-value]; ranks."""
    return {
        "accuracy": {
            condition: {name: (100 * study.mean(condition).of(name).mean(axis=1)).tolist() for name in NAMES}
            for condition in SHARES
        },
        "auto_less": {
            condition: {
                other: [_points(less(study, AUTO, other, condition, budget)) for budget in (*SPEC.budgets, None)]
                for other in NAMES
                if other != AUTO
            }
            for condition in SHARES
        },
        "average_rank": {name: study.ranks(name, NAMES) for name in study.names} | {"all": study.ranks(among=NAMES)},
    }


def _points(found: Difference) -> list[float]:
    return [100 * found.mean, 100 * found.standard_error, found.p_value]


def main() -> None:
    args = arguments(__doc__)
    set_names, spec = (QUICK_SETS, QUICK_SPEC) if args.quick else (tuple(SETS), SPEC)
    for set_name in SETS:
        whole_set(set_name)  # downloads once; the second views of others are needed too
    jobs = [
        Job(Place(set_name, condition), seed, spec, QUICK_POOL_ROWS if args.quick else MAX_POOL_ROWS)
        for seed in range(spec.first_seed, spec.first_seed + spec.num_seeds)
        for condition in SHARES
        for set_name in set_names
    ]
    rows = run_all(jobs, num_processes=1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), FOLDER / "trials.parquet")
    study = Study.of_rows(rows)
    if not args.quick:
        print_tables(study)
    gains = {condition: 100 * few_gain(study, AUTO, JOINT, condition) for condition in SHARES}
    line = f"auto - joint in points at {' and '.join(f'{b:.0%}' for b in FEW)}: " + ", ".join(
        f"{condition} {gain:+.1f}" for condition, gain in gains.items()
    )
    line += f" (targets: -{100 * MAX_LOSS:.1f} at any budget, +{100 * HALF_GAIN:.0f}, +{100 * NOTHING_GAIN:.0f})"
    scale = {"sets": list(set_names), "budgets": list(spec.budgets), "num_seeds": spec.num_seeds}
    figures = scale | {"max_pool_rows": MAX_POOL_ROWS} | ({} if args.quick else figures_of(study))
    finish("sharing", {} if args.quick else checks_of(study), figures, line, args)


if __name__ == "__main__":
    main()
