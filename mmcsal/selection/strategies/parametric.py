"""The `parametric` strategy: B free vectors are optimised on the sphere, then each takes the open row nearest to it.

After ActiveFT (Xie et al. 2023, "Active Finetuning: Exploiting Annotation Budget in the Pretraining-Finetuning
Paradigm") with an alignment term: the closest reading of MMCSAL (arXiv 2412.09126). It is here to compare with.

Rows z_i (unit, weights w_i with sum 1, alignment a_i in [0, 1]); vectors t_p that move and labeled samples that do not,
together u_q; h the bandwidth; K(x, y) = exp((x . y - 1) / h). Minimised over unit t_p:

    loss  = Dist + lambda_div * Div - lambda_align * Align
    Dist  = -sum_i w_i (1 + h log sum_q K(z_i, u_q))      minus the soft maximum of a row's cosines to all vectors
    Div   = (1/P) sum_p h log sum_q K(t_p, u_q)           0 for a vector that no other one is near (q = p gives the 1)
    Align = (1/P) sum_p A_p,  A_p = sum_i w_i a_i K(z_i, t_p) / S_p,  S_p = sum_i w_i K(z_i, t_p)

A_p is the mean alignment of the rows around t_p: Align of the batch, made continuous. With the soft assignments
m_ip = K(z_i, t_p) / sum_q K(z_i, u_q) and c_pq = K(t_p, u_q) / sum_q' K(t_p, u_q') the gradient in t_p is the part of

    -sum_i w_i m_ip z_i + (lambda_div / P) (sum_q c_pq u_q + sum_p' c_p'p t_p')
    - (lambda_align / P) sum_i w_i (a_i - A_p) K(z_i, t_p) z_i / (h S_p)

that is orthogonal to t_p. All terms are in units of a cosine. ActiveFT's assignment is hard. Its formula leaves out
q = p in Div, so that repulsion never ends and drives vectors out of the pool (36 small pools, lambda_div 1: 3 to 5
points of accuracy lost, 7 times the misaligned picks or more); its published code keeps q = p, as here.

Time O(iterations * N * B * D), memory O((N + B + L) D + chunk): rows pass in chunks, whose sums are added in a fixed
order in float64. 20,000 rows of width 128 and 1000 picks: .85 s a step on one core.

**Floats**: unlike the other strategies this one is promised to repeat itself on one kind of machine only (CPU and
BLAS); on another one a few picks may differ. Rounding hardly grows, as the steps end in a minimum: with two threads,
other chunks or float64 throughout the vectors moved by up to 2e-5, and none of 380 picks changed. What follows the
vectors (nearest rows, ranks) is exact integers.

Source:
    the closest reading of MMCSAL (Shen et al. 2024, arXiv 2412.09126), with the free vectors of ActiveFT.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.numerics.adam import Adam
from mmcsal.selection.numerics.kernel import FAR, nearest, square_distances
from mmcsal.selection.numerics.quantize import quantize
from mmcsal.selection.strategies.problem import Problem

MAX_CHUNK_ROWS, MIN_CHUNK_ROWS, CHUNK_PAIRS = 2048, 128, 2**18
NEAREST_PAIRS = 2**22  # pairs of vectors and rows whose distances are in memory at a time
JITTER = 1e-3  # of the starts, a coordinate: equal rows must not stay together
TINY = np.finfo(np.float32).tiny


class ParametricSpec(Spec):
    """Parameters of the `parametric` strategy, beside `lambda_align`."""

    kind: Literal["parametric"] = "parametric"
    # Sharpness of the assignment of rows to vectors, in units of a cosine: smaller is harder; .03 to .14 are alike.
    bandwidth: Annotated[float, Field(ge=0.02, le=1)] = 0.07
    # Steps of Adam; the time grows in proportion. 50 are too few, 1000 gain nothing; 100 do at a learning_rate of .1.
    num_iterations: Annotated[int, Field(ge=1)] = 300
    # Size of the first steps, per coordinate of a unit vector; it falls to 0 along half a cosine.
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.03
    # Weight of the repulsion among the vectors, and from the labeled samples. 0 covers less of the pool.
    lambda_div: Annotated[float, Field(ge=0)] = 1.0
    # Pools beyond this many rows are refused: every step compares each row with each vector, on one machine.
    max_pool_size: Annotated[int, Field(ge=1)] = 20000


@dataclass(frozen=True)
class LossTerms:
    """What the loss is made of, beside the vectors that move. All arrays have the type of `joint_ND`."""

    joint_ND: np.ndarray  # unit rows
    weight_N: np.ndarray  # sum 1
    alignment_N: np.ndarray  # in [0, 1]
    fixed_LD: np.ndarray  # unit
    fixed_kernel_N: np.ndarray  # sum of K of a row to the labeled samples, which never changes
    bandwidth: float
    lambda_div: float
    lambda_align: float


def rank_rows(problem: Problem, spec: ParametricSpec) -> np.ndarray:
    """Open rows by falling weight of what each stands for, int64 [at most `problem.num_ranked`].

    Where limits may pass over some rows, twice as many vectors as picks are placed.
    """
    by_hash = np.argsort(problem.hash_N)
    joint_ND = unit_rows(problem.joint_ND[by_hash])
    weight_N = problem.count_N[by_hash]
    is_open_N, fixed_LD = problem.is_open_N[by_hash], joint_ND[problem.is_labeled_N[by_hash]]
    num_vectors = min(problem.num_ranked, 2 * problem.num_picks, int(is_open_N.sum()))
    theta_PD = optimise_parameters(
        joint_ND, weight_N, problem.aligned_N[by_hash], fixed_LD, num_vectors, spec,
        problem.applied_lambda_align, problem.seed,
        is_open_N=is_open_N,
    )  # fmt: skip
    rows_P = nearest_distinct(theta_PD, joint_ND, is_open_N)
    return by_hash[rows_P[order_by_mass(rows_P, joint_ND, weight_N, fixed_LD)]]


def unit_rows(joint_ND: np.ndarray) -> np.ndarray:
    """Quantised rows at unit norm, float32."""
    return _unit(joint_ND.astype(np.float32))


def make_problem(
    joint_ND: np.ndarray,
    weight_N: np.ndarray,
    alignment_N: np.ndarray,
    fixed_LD: np.ndarray,
    spec: ParametricSpec,
    lambda_align: float,
) -> LossTerms:
    """The terms in the float type of `joint_ND`; weights need not sum to 1."""
    float_type = joint_ND.dtype
    fixed_LD, alignment_N = fixed_LD.astype(float_type), alignment_N.astype(float_type)
    weight_N = (weight_N / np.sum(weight_N, dtype=np.float64)).astype(float_type)
    fixed_kernel_N = np.zeros(len(joint_ND), float_type)
    for rows in _chunks(len(joint_ND), len(fixed_LD)):
        fixed_kernel_N[rows] = _kernel(joint_ND[rows], fixed_LD, spec.bandwidth).sum(axis=1)
    return LossTerms(
        joint_ND, weight_N, alignment_N, fixed_LD, fixed_kernel_N, spec.bandwidth, spec.lambda_div, lambda_align
    )


def loss_and_gradient(theta_PD: np.ndarray, problem: LossTerms) -> tuple[float, np.ndarray]:
    """The loss at unit vectors and its gradient along the sphere, float64 [P, D]."""
    loss, gradient_PD = _distribution_and_alignment(theta_PD, problem)
    if problem.lambda_div > 0:
        repulsion, repulsion_PD = _repulsion(theta_PD, problem)
        loss, gradient_PD = loss + repulsion, gradient_PD + repulsion_PD
    return loss, gradient_PD - np.sum(gradient_PD * theta_PD, axis=1, keepdims=True) * theta_PD


def optimise_parameters(
    joint_ND: np.ndarray,
    weight_N: np.ndarray,
    alignment_N: np.ndarray,
    fixed_LD: np.ndarray,
    num_picks: int,
    spec: ParametricSpec,
    lambda_align: float,
    seed: int,
    *,
    is_open_N: np.ndarray | None = None,
) -> np.ndarray:
    """The vectors that the loss is least at, as far as Adam finds them, float32 [P, D], unit.

    Args:
        joint_ND: unit rows of the pool, float32, in the order of their hashes: the first open ones are the starts.
        weight_N: how much each row counts.
        alignment_N: min(1, r / t) of each row.
        fixed_LD: unit vectors of the labeled samples, [0, D] where there are none.
        num_picks: P, at most the number of open rows.
        is_open_N: the rows that may be starts; all by default.
    """
    problem = make_problem(joint_ND, weight_N, alignment_N, fixed_LD, spec, lambda_align)
    theta_PD = _starts(joint_ND, num_picks, seed, is_open_N)
    adam = Adam(theta_PD.shape)
    for step in range(spec.num_iterations):
        _, gradient_PD = loss_and_gradient(theta_PD.astype(joint_ND.dtype), problem)
        gradient_PD *= num_picks  # so that Adam's epsilon is as small against one of many vectors as against one of few
        rate = spec.learning_rate * (1 + np.cos(np.pi * step / spec.num_iterations)) / 2
        theta_PD += adam.step(gradient_PD, rate)
        theta_PD = _unit(theta_PD)
    return theta_PD.astype(np.float32)


def nearest_distinct(theta_PD: np.ndarray, joint_ND: np.ndarray, is_open_N: np.ndarray) -> np.ndarray:
    """An open row for each vector, no row twice: rows, int64 [P]. There must be at least P open rows.

    The nearest pair of a vector and a free row is fixed first, then the nearest of what is left, and so on; of equal
    pairs the one of the lowest row, then of the lowest vector. Found without all pairs in memory: each vector asks its
    nearest row, a row keeps the nearest vector that asked, the others ask on. Both sides rank pairs alike, so
    this ends in the same pairs (Gale and Shapley 1962). Distances are those of quantised rows: exact.
    """
    open_rows = np.flatnonzero(is_open_N)
    if len(theta_PD) > len(open_rows):
        raise ValueError(f"nearest_distinct: {len(theta_PD)} vectors, but only {len(open_rows)} open rows")
    theta_PD, open_ND = quantize(theta_PD), quantize(joint_ND[open_rows])
    holder_N = np.full(len(open_rows), -1, np.int64)
    held_N = np.full(len(open_rows), FAR, np.int32)  # distance to the holder
    asking = np.arange(len(theta_PD))
    while len(asking):
        row_P, distance_P = _ask(asking, theta_PD, open_ND, holder_N, held_N)
        order = np.lexsort((asking, distance_P, row_P))
        asked, first = np.unique(row_P[order], return_index=True)
        winners = order[first]
        lost = holder_N[asked]
        holder_N[asked], held_N[asked] = asking[winners], distance_P[winners]
        asking = np.sort(np.concatenate([np.delete(asking, winners), lost[lost >= 0]]))
    rows_P = np.empty(len(theta_PD), np.int64)
    rows_P[holder_N[holder_N >= 0]] = open_rows[holder_N >= 0]
    return rows_P


def order_by_mass(rows_P: np.ndarray, joint_ND: np.ndarray, weight_N: np.ndarray, fixed_LD: np.ndarray) -> np.ndarray:
    """Places of the picks by rank, int64 [P]: falling weight of the rows nearest to each, ties by lower row.

    A row that is nearest to a labeled sample counts for no pick. The order depends on which rows are picked alone.
    """
    joint_ND = quantize(joint_ND)
    owner_N, distance_N = nearest(joint_ND, joint_ND[rows_P])
    owner_N[rows_P] = np.arange(len(rows_P))  # of several equal rows, each pick stands for itself
    if len(fixed_LD):
        _, labeled_distance_N = nearest(joint_ND, quantize(fixed_LD))
        owner_N[distance_N > labeled_distance_N] = -1
    is_mine_N = owner_N >= 0
    mass_P = np.bincount(owner_N[is_mine_N], weight_N[is_mine_N], minlength=len(rows_P))
    return np.lexsort((rows_P, -mass_P))


def _chunks(num_rows: int, num_vectors: int) -> Iterator[slice]:
    size = int(np.clip(CHUNK_PAIRS // max(num_vectors, 1), MIN_CHUNK_ROWS, MAX_CHUNK_ROWS))
    return (slice(start, start + size) for start in range(0, num_rows, size))


def _unit(x_PD: np.ndarray) -> np.ndarray:
    return x_PD / np.sqrt(np.sum(x_PD * x_PD, axis=1, keepdims=True))


def _kernel(x_AD: np.ndarray, y_BD: np.ndarray, bandwidth: float) -> np.ndarray:
    """K of every pair, [A, B]."""
    out_AB = x_AD @ y_BD.T
    out_AB -= 1
    out_AB /= bandwidth
    return np.exp(out_AB, out=out_AB)


def _starts(joint_ND: np.ndarray, num_picks: int, seed: int, is_open_N: np.ndarray | None) -> np.ndarray:
    rows = np.arange(num_picks) if is_open_N is None else np.flatnonzero(is_open_N)[:num_picks]
    start_PD = joint_ND[rows].astype(np.float64)
    return _unit(start_PD + JITTER * np.random.default_rng(seed).normal(size=start_PD.shape))


def _distribution_and_alignment(theta_PD: np.ndarray, problem: LossTerms) -> tuple[float, np.ndarray]:
    """Dist - lambda_align * Align, and its gradient in space."""
    (num_vectors, width), loss = theta_PD.shape, -1.0
    gradient_PD = np.zeros((num_vectors, width))
    sums_PS = np.zeros((num_vectors, 2 * width + 2))  # of w z, w a z, w and w a, weighted by K
    for rows in _chunks(len(problem.joint_ND), num_vectors):
        kernel_NP = _kernel(problem.joint_ND[rows], theta_PD, problem.bandwidth)
        weight_N = problem.weight_N[rows]
        total_N = np.maximum(kernel_NP.sum(axis=1) + problem.fixed_kernel_N[rows], TINY)
        loss -= problem.bandwidth * float(np.sum(weight_N * np.log(total_N), dtype=np.float64))
        weighted_ND = problem.joint_ND[rows] * weight_N[:, None]
        if problem.lambda_align > 0:
            sums_PS += kernel_NP.T @ _with_alignment(weighted_ND, weight_N, problem.alignment_N[rows])
        kernel_NP /= total_N[:, None]
        gradient_PD -= kernel_NP.T @ weighted_ND
    if problem.lambda_align > 0:
        alignment, alignment_PD = _alignment(sums_PS, problem.bandwidth)
        loss -= problem.lambda_align * alignment
        gradient_PD -= problem.lambda_align * alignment_PD
    return loss, gradient_PD


def _with_alignment(weighted_ND: np.ndarray, weight_N: np.ndarray, alignment_N: np.ndarray) -> np.ndarray:
    plain_NS = np.concatenate([weighted_ND, weight_N[:, None]], axis=1)
    return np.concatenate([plain_NS, plain_NS * alignment_N[:, None]], axis=1)


def _alignment(sums_PS: np.ndarray, bandwidth: float) -> tuple[float, np.ndarray]:
    """Align and its gradient, from the sums of w z, w, w a z and w a."""
    width = sums_PS.shape[1] // 2 - 1
    plain_PS, aligned_PS = sums_PS[:, : width + 1], sums_PS[:, width + 1 :]
    near_P = np.maximum(plain_PS[:, -1:], TINY)
    alignment_P = aligned_PS[:, -1:] / near_P
    pull_PD = (aligned_PS - alignment_P * plain_PS)[:, :-1] / (bandwidth * near_P)
    return float(alignment_P.mean()), pull_PD / len(sums_PS)


def _repulsion(theta_PD: np.ndarray, problem: LossTerms) -> tuple[float, np.ndarray]:
    """lambda_div * Div, and its gradient in space."""
    num_vectors = len(theta_PD)
    all_BD = np.concatenate([theta_PD, problem.fixed_LD])
    value, gradient_PD = 0.0, np.zeros(theta_PD.shape)
    for rows in _chunks(num_vectors, len(all_BD)):
        kernel_PB = _kernel(theta_PD[rows], all_BD, problem.bandwidth)
        total_P = kernel_PB.sum(axis=1)
        value += float(np.sum(np.log(total_P), dtype=np.float64))
        kernel_PB /= total_P[:, None]
        gradient_PD[rows] += kernel_PB @ all_BD
        gradient_PD += kernel_PB[:, :num_vectors].T @ theta_PD[rows]
    scale = problem.lambda_div / num_vectors
    return scale * problem.bandwidth * value, scale * gradient_PD


def _ask(
    asking: np.ndarray, theta_PD: np.ndarray, open_ND: np.ndarray, holder_N: np.ndarray, held_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of each asking vector that has no better holder, and the distance; the first of equals."""
    row_P, distance_P = np.empty(len(asking), np.int64), np.empty(len(asking), np.int32)
    size = max(1, NEAREST_PAIRS // len(open_ND))
    for start in range(0, len(asking), size):
        vectors = asking[start : start + size]
        distance_PN = square_distances(theta_PD[vectors], open_ND)
        is_better_PN = (distance_PN < held_N) | ((distance_PN == held_N) & (vectors[:, None] < holder_N))
        distance_PN[~is_better_PN] = FAR
        places = slice(start, start + len(vectors))
        row_P[places], distance_P[places] = distance_PN.argmin(axis=1), distance_PN.min(axis=1)
    return row_P, distance_P
