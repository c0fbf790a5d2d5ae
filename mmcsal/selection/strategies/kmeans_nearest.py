"""The `kmeans_nearest` strategy: as many clusters as picks, and of each the sample nearest to its centre.

The strongest of the simple methods, and the one that most teams use. Labeled samples are centres that do not move.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.kmeans import NUM_ITERATIONS, kmeans
from mmcsal.selection.strategies.parametric import nearest_distinct, order_by_mass
from mmcsal.selection.strategies.problem import Problem


class KMeansNearestSpec(Spec):
    """Parameters of k-means."""

    kind: Literal["kmeans_nearest"] = "kmeans_nearest"
    num_iterations: Annotated[int, Field(ge=1)] = NUM_ITERATIONS
    # Pools beyond this many rows are refused: every iteration compares each row with each centre, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 200_000


def rank_rows(problem: Problem, spec: KMeansNearestSpec) -> np.ndarray:
    """Open rows, one a cluster, by falling weight of the rows nearest to each; int64 [at most `problem.num_ranked`].

    Where limits may pass over some rows, twice as many clusters as picks are made.
    """
    rng, fixed_LD = np.random.default_rng(problem.seed), problem.joint_ND[problem.is_labeled_N]
    num_clusters = min(problem.num_ranked, 2 * problem.num_picks, int(problem.is_open_N.sum()))
    centre_KD, _ = kmeans(
        problem.joint_ND, num_clusters, rng,
        weight_N=problem.count_N, fixed_LD=fixed_LD, num_iterations=spec.num_iterations,
    )  # fmt: skip
    joint_ND = problem.joint_ND.astype(np.float32)
    rows_P = nearest_distinct(centre_KD.astype(np.float32), joint_ND, problem.is_open_N)
    return rows_P[order_by_mass(rows_P, joint_ND, problem.count_N, fixed_LD.astype(np.float32))]
