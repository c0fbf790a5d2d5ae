"""Pools as strategies see them, and rows in clusters."""

from collections.abc import Sequence
from types import UnionType

import numpy as np

from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kernel import make_kernel
from mmcsal.selection.numerics.quantize import quantize, quantize_joint
from mmcsal.selection.objective.coverage_parts import joint_coverage
from mmcsal.selection.solvers.dense_greedy import NOTHING
from mmcsal.selection.strategies import specs_of
from mmcsal.selection.strategies.classifier import FusedClassifier, Head
from mmcsal.selection.strategies.problem import Problem


def quick_specs(union: UnionType) -> dict[str, Spec]:
    """Every strategy of a union by its kind; those that iterate do so five times."""
    return {
        kind: spec(**{"num_iterations": 5} if "num_iterations" in spec.model_fields else {})
        for kind, spec in specs_of(union).items()
    }


def problem_of(
    x_ND: np.ndarray,
    num_picks: int,
    *,
    labeled: Sequence[int] = (),
    closed: Sequence[int] = (),
    weight_N: np.ndarray = NOTHING,
    seed: int = 0,
    classifier: FusedClassifier | None = None,
) -> Problem:
    """A problem without alignment and limits; labeled rows are closed too."""
    num_rows = len(x_ND)
    joint_ND = quantize(np.asarray(x_ND, np.float64))
    if classifier is not None:
        joint_ND = quantize_joint(*classifier.views(np.asarray(x_ND, np.float64)))
    is_labeled_N, is_open_N = np.zeros(num_rows, bool), np.ones(num_rows, bool)
    is_labeled_N[list(labeled)] = True
    is_open_N[[*labeled, *closed]] = False
    return Problem(
        hash_N=hash_ids([f"{n:05d}" for n in range(num_rows)], salt=f"select:{seed}"),
        joint_ND=joint_ND,
        coverage=joint_coverage(make_kernel(1_000_000)),
        aligned_N=np.ones(num_rows),
        bonus_N=np.zeros(num_rows, np.int64),
        applied_lambda_align=0.0,
        lambda_div=0.0,
        redundancy_unit=0,
        weight_N=weight_N,
        cover_NU=np.zeros((num_rows, 1), np.uint16),
        is_labeled_N=is_labeled_N,
        is_open_N=is_open_N,
        cost_N=np.ones(num_rows),
        num_picks=num_picks,
        num_ranked=num_picks,
        seed=seed,
        classifier=classifier,
    )


def classifier_of(*, width_a: int = 3, width: int = 6, num_classes: int = 4, seed: int = 0) -> FusedClassifier:
    """Heads with random coefficients."""
    rng = np.random.default_rng(seed)
    heads = [
        Head(3 * rng.normal(size=(d, num_classes)), rng.normal(size=num_classes))
        for d in (width, width_a, width - width_a)
    ]
    return FusedClassifier(tuple(f"class {c}" for c in range(num_classes)), heads[0], (heads[1], heads[2]))


def unit_rows(num_rows: int, *, width: int = 6, seed: int = 0) -> np.ndarray:
    """Random directions, float64 of unit norm."""
    x_ND = np.random.default_rng(seed).normal(size=(num_rows, width))
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def clusters(sizes: Sequence[int], *, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows in random order around orthogonal centres, and the cluster of each."""
    rng = np.random.default_rng(seed)
    label_N = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x_ND = np.eye(len(sizes) + 2)[label_N] + noise * rng.normal(size=(len(label_N), len(sizes) + 2))
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True), label_N


def square_distances_of(problem: Problem) -> np.ndarray:
    """Of every pair of rows, int64, one pair after the other."""
    rows = problem.joint_ND.astype(np.int64)
    return np.array([[((x - y) ** 2).sum() for y in rows] for x in rows])
