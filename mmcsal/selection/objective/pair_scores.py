"""Alignment scores that were made before selection: training dynamics, a sync detector, whatever ranks pairs.

They are calibrated against a null sample: scores, by the same means, of pairs that do not belong together (decoys).
From the floats only their order is taken, once, in one place: what follows is integers.
"""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.objective.alignment import (
    NEUTRAL,
    NUM_SCORES,
    Calibration,
    Fit,
    calibrate,
    mispaired_share,
    percentile,
)

NO_CHANCE, SURE = 1.0, 2.0  # standard errors above chance: from here a score steers, and from here fully

# Shares of mispaired pairs between which the threshold rises. With the range of the anchors (.05 to .20), picks held
# two thirds of the pool's share where a tenth was mispaired; with this one a third (one development seed).
RISING = (0.02, 0.10)


@dataclass(frozen=True)
class PairScores:
    """Scores as a caller has them."""

    score_N: np.ndarray  # the higher the better the modalities of a pair agree; NaN = unknown
    null_M: np.ndarray  # of pairs that do not belong together; empty = nothing to calibrate against


@dataclass(frozen=True)
class KnownScores:
    """The scores of a pool as selection compares them, and the calibration that follows from them."""

    hash_N: np.ndarray  # uint64, rising
    score_N: np.ndarray  # int32 in [0, 65535], or NEUTRAL
    r_of_score: np.ndarray  # float64 [65536]
    separation: float  # AUC of the pool's pairs against the null sample: .5 = no difference, or no null sample
    mispaired_share: float  # of the pool's pairs, how many look like the null sample: an upper estimate
    trust: float  # in [0, 1], how sure it is that the score ranks at all
    num_null: int

    def of(self, hash_C: np.ndarray) -> np.ndarray:
        """The scores of rows of the pool, int32 [C]."""
        return self.score_N[np.searchsorted(self.hash_N, hash_C)]


def fit_pair_scores(hash_N: np.ndarray, scores: PairScores, calibration: Calibration) -> KnownScores:
    """Calibrates the scores of a pool, whose rows are in the order of their hashes."""
    own_N, null_M = scores.score_N, scores.null_M[np.isfinite(scores.null_M)]
    is_known_N = np.isfinite(own_N)
    sorted_S = np.sort(np.concatenate([own_N[is_known_N], null_M]))
    score_N = np.full(len(hash_N), NEUTRAL, np.int32)
    score_N[is_known_N] = _places(own_N[is_known_N], sorted_S)
    own_counts = np.bincount(score_N[is_known_N], minlength=NUM_SCORES)
    null_counts = np.bincount(_places(null_M, sorted_S), minlength=NUM_SCORES)
    num_own, num_null = int(is_known_N.sum()), len(null_M)
    separation, trust = 0.5, 1.0  # without a null sample there is nobody to doubt it
    if num_own and num_null:
        separation = _separation(own_counts, null_counts)
        trust = _trust(separation, num_own, num_null)
    # Without a null sample, the pool's own pairs are all that a score can be compared with.
    by_null = calibration == "shuffled" and num_null > 0
    return KnownScores(
        hash_N=hash_N,
        score_N=score_N,
        r_of_score=calibrate(null_counts) if by_null else percentile(own_counts),
        separation=separation,
        mispaired_share=mispaired_share(Fit(0, separation, null_counts, own_counts)),
        trust=trust,
        num_null=num_null,
    )


def _places(values: np.ndarray, sorted_S: np.ndarray) -> np.ndarray:
    """The place of each value among all, int32 in [0, 65535]: equal values have equal places."""
    place = np.searchsorted(sorted_S, values)
    return (place * (NUM_SCORES - 1) // max(len(sorted_S) - 1, 1)).astype(np.int32)


def _separation(own_counts: np.ndarray, null_counts: np.ndarray) -> float:
    twice_below = 2 * (np.cumsum(null_counts) - null_counts) + null_counts
    return int((own_counts * twice_below).sum()) / (2 * int(own_counts.sum()) * int(null_counts.sum()))


def _trust(separation: float, num_own: int, num_null: int) -> float:
    """Full where the AUC is two standard errors above chance: a score that ranks a little helps a little.

    Source:
        Mann & Whitney, 1947, for the error of an AUC of .5.
    """
    error = np.sqrt((num_own + num_null + 1) / (12 * num_own * num_null))
    return float(np.clip(((separation - 0.5) / error - NO_CHANCE) / (SURE - NO_CHANCE), 0.0, 1.0))
