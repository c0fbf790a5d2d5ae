"""The `active_ft` strategy: free vectors are drawn to the rows nearest to them and pushed apart; then each takes a row.

Loss, start and parameters are those of the authors' code (its CIFAR script). With rows z_i, vectors u_p of unit norm,
labeled samples among the u_q that do not move, temperature T, and c(i) the vector nearest to row i:

    loss = mean_i log(1 + push_c(i) / pull_i),  pull_i = exp(z_i . u_c(i) / T),  push_p = sum_q exp(u_q . u_p / T)

The push of a vector is differentiated in that vector alone, as there. With s_i = push / (pull + push), the gradient in
u_p is (1 / NT) sum over the rows of p of s_i (m_p - z_i), m_p the mean of the u_q by their share of the push.
Like `parametric`, a float method: it repeats itself on one kind of machine only.

Source:
    Xie et al., "Active Finetuning: Exploiting Annotation Budget in the Pretraining-Finetuning Paradigm", CVPR 2023.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.adam import Adam
from mmcsal.selection.strategies.parametric import nearest_distinct, order_by_mass, unit_rows
from mmcsal.selection.strategies.problem import Problem

CHUNK_ROWS = 8192


class ActiveFtSpec(Spec):
    """Parameters of ActiveFT."""

    kind: Literal["active_ft"] = "active_ft"
    temperature: Annotated[float, Field(ge=0.02, le=1)] = 0.07
    num_iterations: Annotated[int, Field(ge=1)] = 300
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    # Pools beyond this many rows are refused: every step compares each row with each vector, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 20000


def rank_rows(problem: Problem, spec: ActiveFtSpec) -> np.ndarray:
    """Open rows by falling weight of the rows nearest to each, int64 [at most `problem.num_ranked`].

    Where limits may pass over some rows, twice as many vectors as picks are placed.
    """
    joint_ND = unit_rows(problem.joint_ND)
    fixed_LD = joint_ND[problem.is_labeled_N]
    open_C = np.flatnonzero(problem.is_open_N)
    num_vectors = min(problem.num_ranked, 2 * problem.num_picks, len(open_C))
    start_P = np.random.default_rng(problem.seed).choice(open_C, num_vectors, replace=False)
    theta_PD = move(joint_ND, joint_ND[start_P], fixed_LD, spec).astype(np.float32)
    rows_P = nearest_distinct(theta_PD, joint_ND, problem.is_open_N)
    return rows_P[order_by_mass(rows_P, joint_ND, problem.count_N, fixed_LD)]


def move(joint_ND: np.ndarray, start_PD: np.ndarray, fixed_LD: np.ndarray, spec: ActiveFtSpec) -> np.ndarray:
    """The vectors after all steps, float64 [P, D], not of unit norm.

    Args:
        joint_ND: unit rows, float32.
        start_PD: see `joint_ND`.
        fixed_LD: see `joint_ND`.
    """
    theta_PD, adam = start_PD.astype(np.float64), Adam(start_PD.shape)
    for _ in range(spec.num_iterations):
        _, gradient_PD = loss_and_gradient(theta_PD, joint_ND, fixed_LD, spec.temperature)
        theta_PD += adam.step(gradient_PD, spec.learning_rate)
    return theta_PD


def loss_and_gradient(
    theta_PD: np.ndarray, joint_ND: np.ndarray, fixed_LD: np.ndarray, temperature: float
) -> tuple[float, np.ndarray]:
    """The loss and its gradient in vectors of any norm, float64 [P, D]."""
    (num_vectors, width), num_rows = theta_PD.shape, len(joint_ND)
    norm_P1 = np.linalg.norm(theta_PD, axis=1, keepdims=True)
    unit_PD = theta_PD / norm_P1
    all_BD = np.concatenate([unit_PD, fixed_LD])
    # In units of exp(1 / T), the largest there is: nothing overflows.
    push_PB = np.exp((unit_PD @ all_BD.T - 1) / temperature)
    push_P = push_PB.sum(axis=1)
    loss, pulled_PD, share_P = 0.0, np.zeros((num_vectors, width)), np.zeros(num_vectors)
    all32_BD = all_BD.astype(np.float32)
    for start in range(0, num_rows, CHUNK_ROWS):
        rows_AD = joint_ND[start : start + CHUNK_ROWS]
        similarity_AB = rows_AD @ all32_BD.T
        nearest_A = similarity_AB.argmax(axis=1)
        is_mine_A = nearest_A < num_vectors  # rows nearest to a labeled sample pull on nothing
        nearest_A, rows_AD = nearest_A[is_mine_A], rows_AD[is_mine_A]
        pull_A = np.exp((similarity_AB.max(axis=1)[is_mine_A].astype(np.float64) - 1) / temperature)
        loss += float(np.log1p(push_P[nearest_A] / pull_A).sum())
        share_A = push_P[nearest_A] / (pull_A + push_P[nearest_A])
        np.add.at(pulled_PD, nearest_A, share_A[:, None] * rows_AD)
        share_P += np.bincount(nearest_A, share_A, minlength=num_vectors)
    centre_PD = (push_PB @ all_BD) / push_P[:, None]
    gradient_PD = (share_P[:, None] * centre_PD - pulled_PD) / (num_rows * temperature)
    gradient_PD -= np.sum(gradient_PD * unit_PD, axis=1, keepdims=True) * unit_PD
    return loss / num_rows, gradient_PD / norm_P1
