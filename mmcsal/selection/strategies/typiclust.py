"""The `typiclust` strategy: the most typical sample of each cluster that has no label yet, the largest cluster first.

As in the authors' code: at most 500 clusters of k-means, those of 5 rows or fewer left out, and as many rounds over the
clusters as it takes. Typicality is the inverse mean square distance to the 20 nearest rows of the cluster that have no
label and are not picked (half of the cluster, if that is less).

Source:
    Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML 2022.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kernel import square_distances
from mmcsal.selection.numerics.kmeans import kmeans
from mmcsal.selection.strategies.problem import Problem

CHUNK_PAIRS = 2**22


class TypiClustSpec(Spec):
    """Parameters of TypiClust."""

    kind: Literal["typiclust"] = "typiclust"
    max_clusters: Annotated[int, Field(ge=1)] = 500
    min_cluster_size: Annotated[int, Field(ge=1)] = 6  # smaller ones are left out as long as others hold enough
    num_neighbours: Annotated[int, Field(ge=1)] = 20
    # Pools beyond this many rows are refused: k-means runs on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: TypiClustSpec) -> np.ndarray:
    """Open rows in the order of the rounds, int64 [at most `problem.num_ranked`]; weights do not count."""
    num_labeled = int(problem.is_labeled_N.sum())
    num_clusters = min(problem.num_picks + num_labeled, spec.max_clusters, len(problem.joint_ND))
    _, cluster_N = kmeans(problem.joint_ND, num_clusters, np.random.default_rng(problem.seed))
    size_K = np.bincount(cluster_N, minlength=num_clusters)
    num_taken_K = np.bincount(cluster_N[problem.is_labeled_N], minlength=num_clusters)
    is_left_N = problem.is_open_N.copy()
    num_wanted = min(problem.num_ranked, int(is_left_N.sum()))
    num_left_K = np.bincount(cluster_N[is_left_N], minlength=num_clusters)
    is_large_K = size_K >= spec.min_cluster_size
    if num_left_K[is_large_K].sum() < num_wanted:
        is_large_K[:] = True
    rows: list[int] = []
    while len(rows) < num_wanted:
        # Of the clusters with fewest labels the largest; ties by number, which k-means draws.
        order = np.lexsort((-size_K, num_taken_K, ~(is_large_K & (num_left_K > 0))))
        members = np.flatnonzero((cluster_N == order[0]) & is_left_N)
        row = int(members[_most_typical(problem.joint_ND[members], spec.num_neighbours)])
        rows.append(row)
        is_left_N[row] = False
        num_taken_K[order[0]] += 1
        num_left_K[order[0]] -= 1
    return np.array(rows, np.int64)


def _most_typical(joint_RD: np.ndarray, num_neighbours: int) -> int:
    """The row of least mean square distance to its nearest others; the first of equals."""
    num_neighbours = min(num_neighbours, max(len(joint_RD) // 2, 1), len(joint_RD) - 1)
    total_R = np.zeros(len(joint_RD), np.int64)
    size = max(1, CHUNK_PAIRS // len(joint_RD))
    for start in range(0, len(joint_RD) if num_neighbours else 0, size):
        distance_AR = square_distances(joint_RD[start : start + size], joint_RD)
        nearest_AJ = np.partition(distance_AR, num_neighbours, axis=1)[:, : num_neighbours + 1]  # itself among them: 0
        total_R[start : start + size] = nearest_AJ.sum(axis=1, dtype=np.int64)
    return int(total_R.argmin())
