"""Strategies that rank a whole pool at once, as the one cell of the one bucket that holds it."""

import numpy as np

from mmcsal.selection.scaleout.buckets import Bucket, Candidates, candidates_of
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.solvers.dense_greedy import Picks
from mmcsal.selection.strategies import RANK_ROWS
from mmcsal.selection.strategies.problem import Problem


def rank_pool(bucket: Bucket, plan: Plan) -> Candidates:
    """The rows of a pool in the order in which the strategy of the plan would take them."""
    problem, strategy = _problem(bucket, plan), plan.spec.strategy
    rows_P = RANK_ROWS[type(strategy)](problem, strategy)
    zeros_P = np.zeros(len(rows_P), np.int64)
    picks = Picks(np.arange(len(rows_P)), zeros_P, zeros_P, zeros_P)
    return candidates_of(bucket, rows_P, picks, problem.cost_N[rows_P], number=0)


def _problem(bucket: Bucket, plan: Plan) -> Problem:
    is_limited = bool(plan.attributes.cost_N is not None or len(plan.limits.max_G) or len(plan.roles.forced_hash))
    is_possible_N = bucket.is_open_N & ~plan.objective.is_gated(bucket.score_N)
    is_open_N = is_possible_N if is_possible_N.sum() >= plan.limits.num_picks else bucket.is_open_N
    return Problem(
        hash_N=bucket.hash_N,
        joint_ND=bucket.joint_ND,
        coverage=plan.objective.coverage,
        aligned_N=plan.objective.aligned(bucket.score_N),
        bonus_N=plan.objective.bonus(bucket.score_N, plan.scope.num_rows),
        applied_lambda_align=plan.objective.applied_lambda_align,
        lambda_div=plan.spec.lambda_div,
        redundancy_unit=plan.objective.redundancy_unit(plan.scope.num_rows),
        weight_N=bucket.solver_weights(plan),
        cover_NU=bucket.cover_NU,
        is_labeled_N=bucket.is_labeled_N,
        is_open_N=is_open_N,
        cost_N=plan.attributes.costs(bucket.hash_N),
        num_picks=plan.limits.num_picks,
        num_ranked=int(is_open_N.sum()) if is_limited else plan.limits.num_picks,
        seed=plan.seed,
        classifier=plan.classifier,
    )
