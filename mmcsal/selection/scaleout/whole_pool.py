"""Strategies that rank a whole pool at once, as the one cell of the one bag that holds it."""

import numpy as np

from mmcsal.selection.scaleout.buckets import Bag, Candidates, candidates_of
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.solvers.dense_greedy import Picks
from mmcsal.selection.strategies import RANK_ROWS
from mmcsal.selection.strategies.problem import Problem


def rank_pool(bag: Bag, plan: Plan) -> Candidates:
    """The rows of a pool in the order in which the strategy of the plan would take them."""
    problem, strategy = _problem(bag, plan), plan.spec.strategy
    rows_P = RANK_ROWS[type(strategy)](problem, strategy)
    zeros_P = np.zeros(len(rows_P), np.int64)
    picks = Picks(np.arange(len(rows_P)), zeros_P, zeros_P, zeros_P)
    return candidates_of(bag, rows_P, picks, problem.cost_N[rows_P], number=0)


def _problem(bag: Bag, plan: Plan) -> Problem:
    is_limited = bool(plan.attributes.cost_N is not None or len(plan.max_G) or len(plan.forced_hash))
    is_possible_N = bag.is_open_N & ~plan.is_gated(bag.score_N)
    is_open_N = is_possible_N if is_possible_N.sum() >= plan.num_picks else bag.is_open_N
    return Problem(
        hash_N=bag.hash_N,
        joint_ND=bag.joint_ND,
        kernel=plan.kernel,
        aligned_N=plan.aligned(bag.score_N),
        bonus_N=plan.bonus(bag.score_N, plan.num_rows),
        lambda_align=plan.lambda_align,
        lambda_div=plan.spec.lambda_div,
        redundancy_unit=plan.redundancy_unit(plan.num_rows),
        weight_N=bag.solver_weights(plan),
        cover_N=bag.cover_N,
        is_labeled_N=bag.is_labeled_N,
        is_open_N=is_open_N,
        cost_N=plan.attributes.costs(bag.hash_N),
        num_picks=plan.num_picks,
        num_ranked=int(is_open_N.sum()) if is_limited else plan.num_picks,
        seed=plan.seed,
        classifier=plan.classifier,
    )
