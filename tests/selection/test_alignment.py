import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmcsal.selection.alignment import (
    NEUTRAL,
    NEUTRAL_R,
    align_scores,
    alignment_of,
    calibrate,
    confidence,
    fit_anchors,
)
from mmcsal.selection.quantize import quantize

NUM_ROWS, NUM_ANCHORS = 1500, 400


def scored(pool, num_anchors=NUM_ANCHORS):
    a_ND, v_ND, hash_N = quantize(pool.a_ND), quantize(pool.v_ND), np.arange(len(pool.a_ND), dtype=np.uint64)
    anchors = fit_anchors(hash_N[:num_anchors], a_ND[:num_anchors], v_ND[:num_anchors])
    return a_ND, v_ND, hash_N, anchors


def plain_score(row, a_ND, v_ND, num_anchors, num_near):
    """The definition, in Python integers, one row at a time."""
    profiles = []
    for x_ND in (a_ND, v_ND):
        sims = {m: int(x_ND[row].astype(int) @ x_ND[m].astype(int)) for m in range(num_anchors) if m != row}
        limit = sorted(sims.values(), reverse=True)[num_near - 1]
        profiles.append({m: max(s - limit, 0) // 1024 for m, s in sims.items()})
    product = sum(profiles[0][m] * profiles[1][m] for m in profiles[0])
    norms = [sum(p * p for p in profile.values()) ** 0.5 for profile in profiles]
    return round(65535 * product / (norms[0] * norms[1]))


def test_scores_follow_the_definition(views):
    a_ND, v_ND, hash_N, anchors = scored(views(200), num_anchors=60)
    score_N = align_scores(hash_N, a_ND, v_ND, anchors)
    for row in (0, 7, 59, 60, 150):  # anchors and others
        assert score_N[row] == plain_score(row, a_ND, v_ND, 60, anchors.num_near)


def test_shuffled_pairs_are_found(views):
    pool = views(NUM_ROWS, misaligned=0.15)
    a_ND, v_ND, hash_N, anchors = scored(pool)
    r_N = alignment_of(align_scores(hash_N, a_ND, v_ND, anchors), anchors)
    assert r_N.min() >= 0
    assert r_N.max() <= 1
    assert roc_auc_score(~pool.is_misaligned_N, r_N) > 0.95
    assert np.mean(r_N[pool.is_misaligned_N] < 0.3) > 0.6
    assert np.mean(r_N[~pool.is_misaligned_N] < 0.3) < 0.05
    assert confidence(anchors.separation) > 0.8


def test_unrelated_modalities_give_no_confidence():
    rng = np.random.default_rng(0)
    a_ND, v_ND = quantize(rng.normal(size=(500, 16))), quantize(rng.normal(size=(500, 16)))
    anchors = fit_anchors(np.arange(500, dtype=np.uint64), a_ND, v_ND)
    assert anchors.separation == pytest.approx(0.5, abs=0.08)
    assert confidence(anchors.separation) == 0


def test_calibration_is_against_shuffled_pairs(views):
    pool = views(NUM_ROWS)
    a_ND, v_ND, hash_N, anchors = scored(pool)
    shuffled_N = alignment_of(align_scores(hash_N + 10**6, a_ND, v_ND[::-1], anchors), anchors)
    assert np.mean(shuffled_N == 0) > 0.45  # more than half where most shuffled pairs share no anchor at all
    assert np.mean(shuffled_N == 1) == pytest.approx(0.05, abs=0.05)


def test_r_is_the_share_of_shuffled_pairs_below():
    counts = np.zeros(65536, np.int64)
    counts[:1000:10] = 1  # 100 shuffled pairs, scores 0, 10, ..., 990
    r_of_score = calibrate(counts)
    assert r_of_score[[0, 490, 500, 501, 951, 65535]] == pytest.approx([0, 0, 0, 0.01 / 0.45, 1, 1])
    assert r_of_score[725] == pytest.approx(0.23 / 0.45)


def test_rows_without_a_profile_are_neutral():
    a_ND = np.full((20, 4), 2000, np.int16)
    anchors = fit_anchors(np.arange(20, dtype=np.uint64), a_ND, a_ND)
    score_N = align_scores(np.arange(20, dtype=np.uint64), a_ND, a_ND, anchors)
    assert set(score_N) == {NEUTRAL}
    assert set(alignment_of(score_N, anchors)) == {NEUTRAL_R}
    assert anchors.separation == 0.5


def test_too_few_anchors_are_neutral():
    a_ND = quantize(np.eye(3))
    anchors = fit_anchors(np.arange(3, dtype=np.uint64), a_ND, a_ND)
    assert set(align_scores(np.arange(3, dtype=np.uint64), a_ND, a_ND, anchors)) == {NEUTRAL}
