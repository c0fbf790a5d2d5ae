"""The `prob_cover` strategy: balls of one radius around the picks that hold as many samples as can be.

The radius is the largest for which 95% of the balls around samples are pure: all in them lie in one cluster of k-means,
with as many clusters as classes are expected.

Source:
    Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kernel import FAR, square_distances
from mmcsal.selection.numerics.kmeans import kmeans
from mmcsal.selection.strategies.problem import Problem

CHUNK_ROWS = 512


class ProbCoverSpec(Spec):
    """Parameters of ProbCover."""

    kind: Literal["prob_cover"] = "prob_cover"
    num_classes: Annotated[int, Field(ge=2)] = 20  # about as many as the labels will have
    purity: Annotated[float, Field(gt=0, lt=1)] = 0.95  # share of the balls that are pure: fixes their radius
    # Pools beyond this many rows are refused: who covers whom takes a byte a pair of rows.
    max_pool_size: Annotated[int, Field(ge=1)] = 32768


def rank_rows(problem: Problem, spec: ProbCoverSpec) -> np.ndarray:
    """Open rows in the order of the greedy, int64 [at most `problem.num_ranked`].

    Of equal gains the row of lowest hash comes first; where all is covered, that is the order.
    """
    by_hash = np.argsort(problem.hash_N)
    joint_ND, is_open_N = problem.joint_ND[by_hash], np.array(problem.is_open_N[by_hash])
    weight_N = problem.count_N[by_hash]
    is_near_NN = _balls(joint_ND, ball_radius(joint_ND, spec, np.random.default_rng(problem.seed)))
    is_left_N = np.logical_not(is_near_NN[problem.is_labeled_N[by_hash]].any(axis=0))
    gain_N = np.array([weight_N[near_N & is_left_N].sum() for near_N in is_near_NN], np.int64)
    rows: list[int] = []
    for _ in range(min(problem.num_ranked, int(is_open_N.sum()))):
        row = int(np.where(is_open_N, gain_N, -1).argmax())
        rows.append(row)
        is_open_N[row] = False
        for covered in np.flatnonzero(is_near_NN[row] & is_left_N):
            gain_N[is_near_NN[covered]] -= weight_N[covered]  # all balls that hold it: balls are mutual
            is_left_N[covered] = False
    return by_hash[np.array(rows, np.int64)]


def ball_radius(joint_ND: np.ndarray, spec: ProbCoverSpec, rng: np.random.Generator) -> int:
    """The largest square distance at which `spec.purity` of the balls are pure.

    A ball is pure up to the distance of the nearest row of another cluster, so the radius is a quantile of these.
    """
    num_clusters = min(spec.num_classes, len(joint_ND))
    _, cluster_N = kmeans(joint_ND, num_clusters, rng)
    other_N = np.empty(len(joint_ND), np.int64)
    for start in range(0, len(joint_ND), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        distance_AN = square_distances(joint_ND[rows], joint_ND)
        distance_AN[cluster_N[rows, None] == cluster_N[None, :]] = FAR
        other_N[rows] = distance_AN.min(axis=1)
    num_impure = len(joint_ND) - math.ceil(spec.purity * len(joint_ND) - 1e-9)  # balls that may be impure
    return max(int(np.partition(other_N, num_impure)[num_impure]) - 1, 0)


def _balls(joint_ND: np.ndarray, radius: int) -> np.ndarray:
    """Whether two rows are within the radius of each other, bool [N, N]."""
    is_near_NN = np.empty((len(joint_ND), len(joint_ND)), bool)
    for start in range(0, len(joint_ND), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        np.less_equal(square_distances(joint_ND[rows], joint_ND), radius, out=is_near_NN[rows])
    return is_near_NN
