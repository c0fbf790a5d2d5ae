"""One trial: settings select from the pool of a seed, and samples that could not be selected judge the picks."""

import json
import time
from typing import Any

import numpy as np

from mmcsal.contracts.ids import hash_ids
from mmcsal.evaluation.probe import fit_samples
from mmcsal.evaluation.samples import Samples, split
from mmcsal.evaluation.trial import scores
from mmcsal.selection import SelectSpec, select_pairs
from mmcsal.selection.numerics.bandwidth import merge_bandwidth, nearest_references, neighbour_rank, sample_sizes
from mmcsal.selection.numerics.kernel import ONE, Kernel, kernel_of, make_kernel, nearest
from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.tuning.spec import Settings


def measure(
    samples: Samples,
    select: SelectSpec,
    *,
    budgets: tuple[int | float, ...],
    seed: int,
    test_fraction: float = 1 / 3,
    probe_c: float = 10.0,
) -> list[dict[str, Any]]:
    """What the picks are worth at each budget: the figures of a TUNING row.

    Raises:
        InputError: too few samples; or the strategy refuses the pool.
    """
    pool, test = split(samples, test_fraction=test_fraction, seed=seed)
    pool_joint_ND, test_joint_ND = (quantize_joint(part.a_ND, part.v_ND) for part in (pool, test))
    hash_N = hash_ids(pool.ids.tolist(), salt=f"coverage:{seed}")
    records = []
    for budget in budgets:
        num_picks = budget if isinstance(budget, int) else max(round(budget * len(pool)), 1)
        begun_s = time.perf_counter()
        selection = select_pairs(
            pool.a_ND, pool.v_ND, min(num_picks, len(pool)), sample_ids=pool.ids, config=select, seed=seed
        )
        seconds = time.perf_counter() - begun_s
        rows = np.searchsorted(pool.ids.astype(str), np.array(selection.sample_ids))
        kernel = pool_kernel(pool_joint_ND, hash_N, len(rows))
        learned = scores(fit_samples(pool.take(rows), c=probe_c), test) if samples.has_labels else {}
        records.append(
            {
                "budget": float(budget),
                "seed": seed,
                "num_picks": len(rows),
                "num_pool": len(pool),
                "num_test": len(test),
                "accuracy": learned.get("accuracy"),
                "macro_f1": learned.get("macro_f1"),
                "coverage": coverage(test_joint_ND, pool_joint_ND[rows], kernel),
                "seconds": seconds,
            }
        )
    return records


def tuning_rows(number: int, settings: Settings, phase: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of TUNING, of what `measure` says of a setting."""
    return [{"setting": number, "settings": json.dumps(settings), "phase": phase, **record} for record in records]


def coverage(joint_ND: np.ndarray, picks_PD: np.ndarray, kernel: Kernel) -> float:
    """Mean over samples of the kernel to the nearest pick, in [0, 1].

    Args:
        joint_ND: quantised joint embeddings, int16.
        picks_PD: see `joint_ND`.
    """
    _, square_distance_N = nearest(joint_ND, picks_PD)
    return float(kernel_of(square_distance_N, kernel).mean(dtype=np.float64) / ONE)


def pool_kernel(joint_ND: np.ndarray, hash_N: np.ndarray, num_picks: int) -> Kernel:
    """The kernel at whose scale so many picks share the pool: of the pool alone, so the same for all settings.

    Args:
        joint_ND: quantised joint embeddings of the pool, int16
        hash_N: which rows to measure at, uint64.
    """
    order_N = np.argsort(hash_N)
    joint_ND, hash_N = joint_ND[order_N], hash_N[order_N]
    rank = neighbour_rank(len(joint_ND), num_picks)
    num_queries, num_references, reference_rank = sample_sizes(len(joint_ND), rank)
    found = nearest_references(
        joint_ND[:num_references], hash_N[:num_references], joint_ND[:num_queries], hash_N[:num_queries], reference_rank
    )
    return make_kernel(merge_bandwidth([found], reference_rank))
