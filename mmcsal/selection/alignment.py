"""Alignment score by anchor agreement: do both modalities of a sample place it near the same samples?

Each modality describes a row by its similarities to the same anchors (the rows of lowest hash). The score is the
cosine of the two descriptions; it needs no shared space, and widths may differ. It is calibrated against shuffled
anchor pairs: r = 0 for a pair no better than the median shuffled one, 1 for a pair above 95% of them.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mmcsal.selection.quantize import similarities

ANCHOR_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the anchors that count as near; the anchors choose among them
FALLBACK_SHARE = 0.1
MIN_ANCHORS = 8  # fewer say nothing about a row
MIN_NEAR = 3
NUM_SCORES = 65536
NEUTRAL = -1  # score of a row without a profile
NEUTRAL_R = 0.5  # its r: neither punished (it lies above any sensible threshold) nor called aligned
EXCLUDED = np.float32(-(2**24))  # below every similarity
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Anchors:
    """The anchors and the calibration that follows from them."""

    hash_M: np.ndarray  # uint64
    a_MD: np.ndarray  # quantised, int16
    v_MD: np.ndarray
    num_near: int  # k; 0 = too few anchors, every score is neutral
    r_of_score: np.ndarray  # float64 [65536]
    separation: float  # AUC of own anchor pairs against shuffled ones: .5 = no difference


def fit_anchors(hash_M: np.ndarray, a_MD: np.ndarray, v_MD: np.ndarray) -> Anchors:
    """Chooses how many anchors count as near: what best separates the anchors' own pairs from shuffled ones."""
    num_anchors = len(hash_M)
    if num_anchors < MIN_ANCHORS:
        return Anchors(hash_M, a_MD, v_MD, 0, np.full(NUM_SCORES, NEUTRAL_R), 0.5)
    sims_a_MM, sims_v_MM = (_similarities(x, x, hash_M, hash_M) for x in (a_MD, v_MD))
    fits = {k: _separation(sims_a_MM, sims_v_MM, k) for k in map(_near_count(num_anchors), ANCHOR_SHARES)}
    num_near = max(fits, key=lambda k: (fits[k][0], -k))
    if fits[num_near][0] <= 0.5:
        num_near = _near_count(num_anchors)(FALLBACK_SHARE)
    separation, shuffled_counts = fits[num_near]
    return Anchors(hash_M, a_MD, v_MD, num_near, calibrate(shuffled_counts), separation)


def calibrate(shuffled_counts: np.ndarray) -> np.ndarray:
    """r of each score, float64 [65536]: the share u of shuffled pairs below it, as clip((u - .5) / .45, 0, 1)."""
    total = int(shuffled_counts.sum())
    if total == 0:
        return np.full(NUM_SCORES, NEUTRAL_R)
    below = np.cumsum(shuffled_counts) - shuffled_counts
    return np.clip((below / total - 0.5) / 0.45, 0.0, 1.0)


def align_scores(hash_N: np.ndarray, a_ND: np.ndarray, v_ND: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Scores of quantised rows, int32 [N] in [0, 65535], or NEUTRAL."""
    scores_N = np.full(len(hash_N), NEUTRAL, np.int32)
    if anchors.num_near == 0:
        return scores_N
    a_anchor_MD, v_anchor_MD = anchors.a_MD.astype(np.float32), anchors.v_MD.astype(np.float32)
    for start in range(0, len(hash_N), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        sims_a_NM = _similarities(a_ND[rows], a_anchor_MD, hash_N[rows], anchors.hash_M)
        sims_v_NM = _similarities(v_ND[rows], v_anchor_MD, hash_N[rows], anchors.hash_M)
        near_a_N, near_v_N = _near_limit(sims_a_NM, anchors.num_near), _near_limit(sims_v_NM, anchors.num_near)
        _agreement(sims_a_NM, sims_v_NM, near_a_N, near_v_N, scores_N[rows])
    return scores_N


def alignment_of(scores_N: np.ndarray, anchors: Anchors) -> np.ndarray:
    """The alignment r in [0, 1] of scores, float64 [N]."""
    return np.where(scores_N == NEUTRAL, NEUTRAL_R, anchors.r_of_score[np.maximum(scores_N, 0)])


def confidence(separation: float) -> float:
    """How much the score can be trusted to steer a selection, in [0, 1]."""
    return min(max((separation - 0.6) / 0.3, 0.0), 1.0)


def _near_count(num_anchors: int):
    return lambda share: min(max(round(share * num_anchors), MIN_NEAR), num_anchors - 1)


def _similarities(x_ND, anchor_MD, hash_N, anchor_hash_M) -> np.ndarray:
    sims_NM = similarities(x_ND, anchor_MD)
    order_M = np.argsort(anchor_hash_M)
    place_N = order_M[np.minimum(np.searchsorted(anchor_hash_M[order_M], hash_N), len(order_M) - 1)]
    own_N = np.flatnonzero(anchor_hash_M[place_N] == hash_N)
    sims_NM[own_N, place_N[own_N]] = EXCLUDED  # a row must not describe itself
    return sims_NM


def _near_limit(sims_NM: np.ndarray, num_near: int) -> np.ndarray:
    place = sims_NM.shape[1] - num_near
    return np.ascontiguousarray(np.partition(sims_NM, place, axis=1)[:, place])


def _profiles(sims_MM: np.ndarray, num_near: int) -> np.ndarray:
    """How far each anchor lies inside the near ones, in steps of 1024; float64 that holds integers."""
    limit_M = _near_limit(sims_MM, num_near).astype(np.int32)
    return (np.maximum(sims_MM.astype(np.int32) - limit_M[:, None], 0) >> 10).astype(np.float64)


def _separation(sims_a_MM: np.ndarray, sims_v_MM: np.ndarray, num_near: int) -> tuple[float, np.ndarray]:
    """AUC of own pairs against all shuffled pairs, and how many shuffled pairs have each score, int64 [65536]."""
    profile_a_MM, profile_v_MM = _profiles(sims_a_MM, num_near), _profiles(sims_v_MM, num_near)
    norm_a_M, norm_v_M = (np.sqrt((p * p).sum(axis=1)) for p in (profile_a_MM, profile_v_MM))
    norm_MM = norm_a_M[:, None] * norm_v_M[None, :]
    known_MM = norm_MM > 0
    # Sums of products stay below 2^53: the float64 GEMM is exact, in whatever order it adds.
    cosine_MM = (profile_a_MM @ profile_v_MM.T) / np.where(known_MM, norm_MM, 1.0)
    score_MM = np.rint(65535.0 * cosine_MM).astype(np.int64)
    own_MM = np.eye(len(score_MM), dtype=bool)
    own = np.bincount(score_MM[own_MM & known_MM], minlength=NUM_SCORES)
    shuffled = np.bincount(score_MM[~own_MM & known_MM], minlength=NUM_SCORES)
    num_compared = int(own.sum()) * int(shuffled.sum())
    if num_compared == 0:
        return 0.5, shuffled
    twice_below = 2 * (np.cumsum(shuffled) - shuffled) + shuffled
    return int((own * twice_below).sum()) / (2 * num_compared), shuffled


@njit(cache=True)
def _agreement(sims_a_NM, sims_v_NM, near_a_N, near_v_N, scores_N):
    for n in range(sims_a_NM.shape[0]):
        limit_a, limit_v = np.int32(near_a_N[n]), np.int32(near_v_N[n])
        product, square_a, square_v = np.int64(0), np.int64(0), np.int64(0)
        for m in range(sims_a_NM.shape[1]):
            in_a = max(np.int32(sims_a_NM[n, m]) - limit_a, 0) >> 10
            in_v = max(np.int32(sims_v_NM[n, m]) - limit_v, 0) >> 10
            product += in_a * in_v
            square_a += in_a * in_a
            square_v += in_v * in_v
        if square_a > 0 and square_v > 0:
            cosine = np.float64(product) / (np.sqrt(np.float64(square_a)) * np.sqrt(np.float64(square_v)))
            scores_N[n] = np.int32(np.rint(65535.0 * cosine))
