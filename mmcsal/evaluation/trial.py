"""One trial: a strategy picks from the pool of a seed at every budget, and a classifier learns from its picks."""

import time
from typing import Any

import numpy as np
import torch

from mmcsal.contracts.ids import hash_ids
from mmcsal.evaluation.probe import fit_samples, unit
from mmcsal.evaluation.samples import Samples, split
from mmcsal.evaluation.spec import BASELINE, GROUPS, Contender, EvaluateSpec
from mmcsal.metrics.classification import answer_figures
from mmcsal.selection import select_pairs
from mmcsal.selection.numerics.kernel import square_distances
from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.selection.objective.alignment import align_scores, alignment_of, fit_anchors
from mmcsal.selection.strategies.classifier import FusedClassifier

NUM_ANCHORS, NUM_DENSITY_NEIGHBOURS, CHUNK_ROWS = 512, 10, 1024


def run_trial(
    samples: Samples, contender: Contender, spec: EvaluateSpec, seed: int, seen: Samples | None = None
) -> list[dict[str, Any]]:
    """A TRIAL row for each budget.

    Args:
        seen: the same samples in other embeddings, which the strategy sees instead; the classifier does not.
    """
    pool, test = split(samples, test_fraction=spec.test_fraction, seed=seed)
    if seen is not None:
        seen = split(seen, test_fraction=spec.test_fraction, seed=seed)[0]
    return trial_rows(pool, test, contender, spec, seed, PoolFacts(pool, seed), seen=seen)


def trial_rows(
    pool: Samples,
    test: Samples,
    contender: Contender,
    spec: EvaluateSpec,
    seed: int,
    facts: "PoolFacts",
    *,
    seen: Samples | None = None,
) -> list[dict[str, Any]]:
    """A TRIAL row for each budget, of a pool and a test set that know the same classes.

    A warm start begins with as many random picks as the smallest budget has; then it adds to what it holds at every
    budget, with a classifier of the labels so far. Cold starts choose for each budget anew, as in a first round.
    """
    seen = pool if seen is None else seen
    rows, records = np.zeros(0, np.int64), []
    for budget in spec.budgets:
        num_picks = budget if isinstance(budget, int) else max(round(budget * len(pool)), 1)
        begun_s = time.perf_counter()
        rows = _picks(seen, contender, spec, min(num_picks, len(pool)), rows, seed)
        seconds = time.perf_counter() - begun_s
        key = {"strategy": contender.name, "budget": float(budget), "seed": seed, "num_picks": len(rows)}
        sizes = {"num_pool": len(pool), "num_test": len(test), "seconds": seconds}
        classifier = fit_samples(pool.take(rows), c=spec.probe_c)
        records.append(key | sizes | scores(classifier, test) | facts.of(rows))
    return records


def scores(classifier: FusedClassifier, test: Samples) -> dict[str, Any]:
    """What the classifier is worth on a test set whose classes it may not all know."""
    views = [unit(x_ND).numpy() for x_ND in (test.a_ND, test.v_ND)]
    number_K = np.searchsorted(np.array(test.classes), np.array(classifier.classes))  # of its classes, in the test's
    label_N = torch.from_numpy(test.label_N)
    probability_NC = torch.zeros(len(test), len(test.classes), dtype=torch.float64)
    probability_NC[:, number_K] = torch.from_numpy(classifier.both.probabilities(np.hstack(views)))
    alone = [
        float((number_K[head.logits(x_ND).argmax(axis=1)] == test.label_N).mean())
        for head, x_ND in zip(classifier.alone, views, strict=True)
    ]
    return {**answer_figures(probability_NC, label_N), "accuracy_a": alone[0], "accuracy_v": alone[1]}


class PoolFacts:
    """What can be said of picks beside their accuracy: by these facts strategies differ."""

    def __init__(self, pool: Samples, seed: int) -> None:
        self._pool = pool
        joint_ND = quantize_joint(pool.a_ND, pool.v_ND)
        hash_N = hash_ids(pool.ids.tolist(), salt=f"facts:{seed}")
        low = np.argsort(hash_N)[:NUM_ANCHORS]
        anchors = fit_anchors(hash_N[low], joint_ND[low], pool.a_ND.shape[1], score="anchors", calibration="shuffled")
        self._agreement_N = alignment_of(align_scores(hash_N, joint_ND, pool.a_ND.shape[1], anchors), anchors)
        self._density_N = _places(-_neighbour_distances(joint_ND))

    def of(self, rows: np.ndarray) -> dict[str, Any]:
        """Of some rows of the pool."""
        known, share = self._pool.is_misaligned_N, None
        if known is not None and known.any():
            share = float(known[rows].mean() / known.mean())
        return {
            "class_picks": np.bincount(self._pool.label_N[rows], minlength=len(self._pool.classes)).tolist(),
            "agreement": float(self._agreement_N[rows].mean() - self._agreement_N.mean()),
            "density": float(self._density_N[rows].mean()),
            "misaligned_share": share,
        }


def _picks(
    pool: Samples, contender: Contender, spec: EvaluateSpec, num_picks: int, held: np.ndarray, seed: int
) -> np.ndarray:
    """Rows of the pool, those held before first where the strategy is a warm start."""
    if not contender.is_warm_start:
        return _selected(pool, contender, num_picks, seed)
    if not len(held):
        (start,) = (c for c in GROUPS["cold_start"] if c.name == BASELINE)
        return _selected(pool, start, num_picks, seed)
    if num_picks <= len(held):
        return held
    classifier = fit_samples(pool.take(held), c=spec.probe_c)
    more = _selected(pool, contender, num_picks - len(held), seed, held=held, classifier=classifier)
    return np.concatenate([held, more])


def _selected(pool, contender: Contender, num_picks: int, seed: int, held=None, classifier=None) -> np.ndarray:
    first, second = {"both": (pool.a_ND, pool.v_ND), "a": (pool.a_ND,) * 2, "v": (pool.v_ND,) * 2}[contender.modality]
    selection = select_pairs(
        first, second, num_picks,
        sample_ids=pool.ids, labeled=None if held is None else pool.ids[held],
        config=contender.spec, seed=seed, classifier=classifier,
    )  # fmt: skip
    return np.searchsorted(pool.ids.astype(str), np.array(selection.sample_ids))


def _neighbour_distances(joint_ND: np.ndarray) -> np.ndarray:
    """Square distance of each row to its tenth neighbour, or to the farthest of fewer; int64 [N]."""
    rank, found = min(NUM_DENSITY_NEIGHBOURS, len(joint_ND) - 1), []
    for start in range(0, len(joint_ND), CHUNK_ROWS):
        distance_AN = square_distances(joint_ND[start : start + CHUNK_ROWS], joint_ND)
        found.append(np.partition(distance_AN, rank, axis=1)[:, rank])
    return np.concatenate(found)


def _places(value_N: np.ndarray) -> np.ndarray:
    """Place of each value in their order, from 0 for the smallest to 1."""
    return np.argsort(np.argsort(value_N, kind="stable"), kind="stable") / max(len(value_N) - 1, 1)
