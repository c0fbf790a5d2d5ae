"""Alignment scores: do both modalities of a sample say the same? And what a score means.

- `anchors` (default): each modality describes a row by its similarities to the same anchors (the rows of lowest hash);
  the score is the cosine of the two descriptions. It needs no shared space, and widths may differ.
- `prototypes`: the same against prototypes of the space that both modalities share, fitted on the anchors.
- `cosine`: the cosine of the pair itself; needs a shared space.

A score is calibrated against shuffled anchor pairs: r = 0 for a pair no better than the median shuffled one, 1 for a
pair above 95% of them. Or against the pool's own pairs (`percentile`), which punishes rare classes.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numba import njit

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import places_of_hashes
from mmcsal.selection.numerics.kmeans import spherical_kmeans
from mmcsal.selection.numerics.quantize import JOINT_UNIT, similarities
from mmcsal.selection.numerics.topk import ANY_ORDER, LOWEST, kth_largest

Score = Literal["anchors", "prototypes", "cosine"]
Calibration = Literal["shuffled", "percentile"]

ANCHOR_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the references that count as near; the anchors choose among them
FALLBACK_SHARE = 0.1
MIN_ANCHORS = 8  # fewer say nothing about a row
MIN_NEAR = 3
NUM_PAIRED = 512  # anchors whose pairs are shuffled: a quarter of a million shuffled pairs
NUM_PROTOTYPES = 48
NUM_SCORES = 65536
MISPAIRED_RANGE, THRESHOLD_RANGE = (0.05, 0.20), (0.3, 0.9)
NEUTRAL = -1  # score of a row without a profile
NEUTRAL_R = 0.5  # its r: neither punished (it lies above any sensible threshold) nor called aligned
EXCLUDED = LOWEST  # below every similarity
STEP_BITS = 9  # similarities inside the near ones count in steps of 512, a 16 thousandth of the largest
CHUNK_ROWS = 256  # whose similarities stay in the cache


LEAST_SEPARATION, TRUST_SPAN = 0.6, 0.3  # at which alignment is not trusted, and from there to that of full trust


class Calibrated(Protocol):
    """Whatever knows what a score means."""

    @property
    def r_of_score(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Fit:
    """How a number of near references tells own pairs from shuffled ones."""

    num_near: int
    separation: float
    shuffled_counts: np.ndarray  # int64 [65536]: shuffled pairs by score
    own_counts: np.ndarray


@dataclass(frozen=True)
class Anchors:
    """The rows that a pair is compared with, and the calibration that follows from them."""

    score: Score
    hash_M: np.ndarray  # uint64; empty where the references are no rows of the pool
    a_MD: np.ndarray  # quantised, int16
    v_MD: np.ndarray
    num_near: int  # k; 0 = too few anchors, every score is neutral
    r_of_score: np.ndarray  # float64 [65536]
    separation: float  # AUC of own anchor pairs against shuffled ones: .5 = no difference
    mispaired_share: float  # of the pool's pairs, how many look like shuffled ones: an upper estimate


def fit_anchors(
    hash_M: np.ndarray,
    joint_MD: np.ndarray,
    width_a: int,
    *,
    score: Score = "anchors",
    calibration: Calibration = "shuffled",
) -> Anchors:
    """Chooses how many references count as near: what best separates the anchors' own pairs from shuffled ones.

    Args:
        joint_MD: quantised joint embeddings of the rows of lowest hash; the first `width_a` columns are one modality.

    Raises:
        InputError: the score needs a shared space, and the widths differ.
    """
    a_MD, v_MD = joint_MD[:, :width_a], joint_MD[:, width_a:]
    if score != "anchors" and a_MD.shape[1] != v_MD.shape[1]:
        raise InputError(
            f"select.align_score: {score!r} needs both modalities in one space, but their widths are "
            f"{a_MD.shape[1]} and {v_MD.shape[1]}; use align_score=anchors"
        )
    if len(hash_M) < MIN_ANCHORS:
        return Anchors(score, hash_M, a_MD, v_MD, 0, np.full(NUM_SCORES, NEUTRAL_R), 0.5, 0.0)
    references = _references(score, hash_M, a_MD, v_MD)
    fits = _fits(score, hash_M[:NUM_PAIRED], a_MD[:NUM_PAIRED], v_MD[:NUM_PAIRED], references)
    best = max(fits, key=lambda fit: (fit.separation, -fit.num_near))
    if best.separation <= 0.5:  # all of them are noise
        fallback = _near_count(len(references[1]), FALLBACK_SHARE)
        best = next((fit for fit in fits if fit.num_near == fallback), best)
    r_of_score = calibrate(best.shuffled_counts) if calibration == "shuffled" else percentile(best.own_counts)
    return Anchors(score, *references, best.num_near, r_of_score, best.separation, mispaired_share(best))


def mispaired_share(fit: Fit) -> float:
    """Twice the share of own pairs below the median shuffled pair: half of the mispaired lie there, and few others.

    Measured with 0, 10 and 20% of the pairs shuffled: .03-.10, .11-.21 and .23-.30 on four real sets.

    Source:
        the estimate of true null hypotheses of Storey 2002, at one half.
    """
    if not (fit.own_counts.any() and fit.shuffled_counts.any()):
        return 0.0
    below = fit.own_counts[_share_below(fit.shuffled_counts) <= 0.5].sum()
    return min(1.0, 2 * float(below) / float(fit.own_counts.sum()))


def threshold_of(mispaired_share: float, between: tuple[float, float] = MISPAIRED_RANGE) -> float:
    """The r from which a pair counts as aligned: low where pairs are right, high where many are wrong.

    With few mispaired samples a high threshold punishes hard classes; with many, a low one lets a third of them pass.

    Args:
        between: the shares at which the threshold begins to rise, and is highest.
    """
    low_share, high_share = between
    low, high = THRESHOLD_RANGE
    return low + (high - low) * min(max((mispaired_share - low_share) / (high_share - low_share), 0.0), 1.0)


def calibrate(shuffled_counts: np.ndarray) -> np.ndarray:
    """r of each score, float64 [65536]: the share u of shuffled pairs below it, as clip((u - .5) / .45, 0, 1)."""
    return np.clip((_share_below(shuffled_counts) - 0.5) / 0.45, 0.0, 1.0) if shuffled_counts.any() else _neutral()


def percentile(own_counts: np.ndarray) -> np.ndarray:
    """r of each score as its percentile among the pool's own pairs, float64 [65536]."""
    return _share_below(own_counts) if own_counts.any() else _neutral()


def align_scores(hash_N: np.ndarray, joint_ND: np.ndarray, width_a: int, anchors: Anchors) -> np.ndarray:
    """Scores of quantised rows, int32 [N] in [0, 65535], or NEUTRAL."""
    scores_N = np.full(len(hash_N), NEUTRAL, np.int32)
    if anchors.num_near == 0:
        return scores_N
    a_ND, v_ND = joint_ND[:, :width_a], joint_ND[:, width_a:]
    if anchors.score == "cosine":
        return _cosine_scores(np.einsum("nd,nd->n", a_ND.astype(np.float32), v_ND.astype(np.float32)))
    own_N = places_of_hashes(hash_N, anchors.hash_M)
    a_anchor_DM, v_anchor_DM = (np.ascontiguousarray(x.T, np.float32) for x in (anchors.a_MD, anchors.v_MD))
    for start in range(0, len(hash_N), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        sims_a_NM = a_ND[rows].astype(np.float32) @ a_anchor_DM
        sims_v_NM = v_ND[rows].astype(np.float32) @ v_anchor_DM
        for sims_NM in (sims_a_NM, sims_v_NM):
            _exclude_own(sims_NM, own_N[rows])
        _agreement(sims_a_NM, sims_v_NM, anchors.num_near, scores_N[rows])
    return scores_N


def alignment_of(scores_N: np.ndarray, calibrated: Calibrated) -> np.ndarray:
    """The alignment r in [0, 1] of scores, float64 [N]."""
    return np.where(scores_N == NEUTRAL, NEUTRAL_R, calibrated.r_of_score[np.maximum(scores_N, 0)])


def confidence(separation: float) -> float:
    """How much the score can be trusted to steer a selection, in [0, 1], rising."""
    return min(max((separation - LEAST_SEPARATION) / TRUST_SPAN, 0.0), 1.0)


def _references(score: Score, hash_M: np.ndarray, a_MD: np.ndarray, v_MD: np.ndarray):
    """Hashes, and what either modality is compared with."""
    if score != "prototypes":
        return hash_M, a_MD, v_MD
    # Both modalities of the anchors, interleaved: the starts are the first that differ.
    both_ND = np.stack([a_MD, v_MD], axis=1).reshape(-1, a_MD.shape[1])
    prototype_KD = spherical_kmeans(both_ND, min(NUM_PROTOTYPES, len(hash_M)), unit=JOINT_UNIT)
    prototype_KD = both_ND[:1] if prototype_KD is None else prototype_KD
    return np.zeros(0, np.uint64), prototype_KD, prototype_KD


def _near_count(num_references: int, share: float) -> int:
    return max(min(max(round(share * num_references), MIN_NEAR), num_references - 1), 1)


def _exclude_own(sims_NM: np.ndarray, own_N: np.ndarray) -> None:
    """A row must not describe itself; `own_N` is the anchor that each row is, -1 = none."""
    rows = np.flatnonzero(own_N >= 0)
    sims_NM[rows, own_N[rows]] = EXCLUDED


def _cosine_scores(product_N: np.ndarray) -> np.ndarray:
    """Exact integer products of the two halves, in units of JOINT_UNIT^2, to [0, 65535]."""
    share_N = (product_N.astype(np.float64) / JOINT_UNIT**2 + 1) / 2
    return np.rint((NUM_SCORES - 1) * np.clip(share_N, 0, 1)).astype(np.int32)


def _fits(score: Score, hash_P: np.ndarray, a_PD: np.ndarray, v_PD: np.ndarray, references) -> list[Fit]:
    """How well own pairs are told from shuffled ones, by how many references count as near."""
    if score == "cosine":
        score_PP = _cosine_scores(similarities(a_PD, v_PD).reshape(-1)).reshape(len(a_PD), -1)
        return [_fit(1, score_PP, np.ones(score_PP.shape, bool))]
    reference_hash, *reference_vectors = references
    sims, ranked = [], []
    for x_PD, reference_MD in zip((a_PD, v_PD), reference_vectors, strict=True):
        sims_PM = similarities(x_PD, reference_MD)
        _exclude_own(sims_PM, places_of_hashes(hash_P, reference_hash))
        sims.append(sims_PM.astype(np.int32))
        ranked.append(np.sort(sims[-1], axis=1))
    num_references = len(reference_vectors[0])
    return [
        _fit(k, *_cosines(*(_profiles(s, r[:, num_references - k]) for s, r in zip(sims, ranked, strict=True))))
        for k in sorted({_near_count(num_references, share) for share in ANCHOR_SHARES})
    ]


def _fit(num_near: int, score_PP: np.ndarray, known_PP: np.ndarray) -> Fit:
    """The AUC of own pairs (the diagonal) against all shuffled pairs."""
    own_PP = np.eye(len(score_PP), dtype=bool)
    own = np.bincount(score_PP[own_PP & known_PP], minlength=NUM_SCORES)
    shuffled = np.bincount(score_PP[~own_PP & known_PP], minlength=NUM_SCORES)
    num_compared = int(own.sum()) * int(shuffled.sum())
    twice_below = 2 * (np.cumsum(shuffled) - shuffled) + shuffled
    separation = int((own * twice_below).sum()) / (2 * num_compared) if num_compared else 0.5
    return Fit(num_near, separation, shuffled, own)


def _profiles(sims_PM: np.ndarray, limit_P: np.ndarray) -> np.ndarray:
    """How far each reference lies inside the near ones, in steps of 512; float64 that holds integers."""
    return (np.maximum(sims_PM - limit_P[:, None], 0) >> STEP_BITS).astype(np.float64)


def _cosines(profile_a_PM: np.ndarray, profile_v_PM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the first modality of each sample with the second of each other one, and which of them are known."""
    norm_a_P, norm_v_P = (np.sqrt((p * p).sum(axis=1)) for p in (profile_a_PM, profile_v_PM))
    norm_PP = norm_a_P[:, None] * norm_v_P[None, :]
    known_PP = norm_PP > 0
    # Sums of products stay below 2^53: the float64 GEMM is exact, in whatever order it adds.
    cosine_PP = (profile_a_PM @ profile_v_PM.T) / np.where(known_PP, norm_PP, 1.0)
    return np.rint((NUM_SCORES - 1) * cosine_PP).astype(np.int64), known_PP


def _share_below(counts: np.ndarray) -> np.ndarray:
    return (np.cumsum(counts) - counts) / int(counts.sum())


def _neutral() -> np.ndarray:
    return np.full(NUM_SCORES, NEUTRAL_R)


@njit(cache=True, nogil=True)
def _agreement(sims_a_NM, sims_v_NM, num_near, scores_N):
    limit_a, limit_v = np.float32(0), np.float32(0)
    for n in range(sims_a_NM.shape[0]):
        limit_a = kth_largest(sims_a_NM[n], num_near, limit_a)
        limit_v = kth_largest(sims_v_NM[n], num_near, limit_v)
        product, square_a, square_v = _products(sims_a_NM[n], sims_v_NM[n], limit_a, limit_v)
        if square_a > 0 and square_v > 0:
            scores_N[n] = np.int32(np.rint(65535.0 * (product / (np.sqrt(square_a) * np.sqrt(square_v)))))


# Integers below 2^53 in all: exact in any order.
@njit(cache=True, nogil=True, fastmath=ANY_ORDER)
def _products(sims_a_M, sims_v_M, limit_a, limit_v):
    product, square_a, square_v = 0.0, 0.0, 0.0
    for m in range(sims_a_M.shape[0]):
        in_a = np.float64(np.int32(max(sims_a_M[m] - limit_a, np.float32(0))) >> STEP_BITS)
        in_v = np.float64(np.int32(max(sims_v_M[m] - limit_v, np.float32(0))) >> STEP_BITS)
        product += in_a * in_v
        square_a += in_a * in_a
        square_v += in_v * in_v
    return product, square_a, square_v
