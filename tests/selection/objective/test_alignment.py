from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmcsal.contracts.errors import InputError
from mmcsal.selection.numerics.quantize import quantize_joint
from mmcsal.selection.objective.alignment import (
    NEUTRAL,
    NEUTRAL_R,
    align_scores,
    alignment_of,
    calibrate,
    confidence,
    fit_anchors,
    percentile,
)

NUM_ROWS, NUM_ANCHORS = 1500, 400


def scored(pool, num_anchors=NUM_ANCHORS, **given):
    """Quantised rows, their hashes, the width of the first modality, and anchors fitted on the first rows."""
    joint_ND, hash_N = quantize_joint(pool.a_ND, pool.v_ND), np.arange(len(pool.a_ND), dtype=np.uint64)
    width_a = pool.a_ND.shape[1]
    return joint_ND, hash_N, width_a, fit_anchors(hash_N[:num_anchors], joint_ND[:num_anchors], width_a, **given)


def plain_score(row, joint_ND, width_a, num_anchors, num_near):
    """The definition, in Python integers, one row at a time."""
    profiles = []
    for x_ND in (joint_ND[:, :width_a], joint_ND[:, width_a:]):
        sims = {m: int(x_ND[row].astype(int) @ x_ND[m].astype(int)) for m in range(num_anchors) if m != row}
        limit = sorted(sims.values(), reverse=True)[num_near - 1]
        profiles.append({m: max(s - limit, 0) // 512 for m, s in sims.items()})
    product = sum(profiles[0][m] * profiles[1][m] for m in profiles[0])
    norms = [sum(p * p for p in profile.values()) ** 0.5 for profile in profiles]
    return round(65535 * product / (norms[0] * norms[1]))


def test_scores_follow_the_definition(views):
    joint_ND, hash_N, width_a, anchors = scored(views(200), num_anchors=60)
    score_N = align_scores(hash_N, joint_ND, width_a, anchors)
    for row in (0, 7, 59, 60, 150):  # anchors and others
        assert score_N[row] == plain_score(row, joint_ND, width_a, 60, anchors.num_near)


def test_shuffled_pairs_are_found(views):
    pool = views(NUM_ROWS, misaligned=0.15)
    joint_ND, hash_N, width_a, anchors = scored(pool)
    r_N = alignment_of(align_scores(hash_N, joint_ND, width_a, anchors), anchors)
    assert r_N.min() >= 0
    assert r_N.max() <= 1
    assert roc_auc_score(~pool.is_misaligned_N, r_N) > 0.95
    assert np.mean(r_N[pool.is_misaligned_N] < 0.3) > 0.6
    assert np.mean(r_N[~pool.is_misaligned_N] < 0.3) < 0.05
    assert confidence(anchors.separation) > 0.8


def test_alignment_is_trusted_more_where_pairs_are_told_apart_better():
    found = [confidence(separation) for separation in np.linspace(0, 1, 101)]
    assert found == sorted(found)
    assert (found[50], found[-1]) == (0, 1)


def test_unrelated_modalities_give_no_confidence():
    rng = np.random.default_rng(0)
    joint_ND = quantize_joint(rng.normal(size=(500, 16)), rng.normal(size=(500, 16)))
    anchors = fit_anchors(np.arange(500, dtype=np.uint64), joint_ND, 16)
    assert anchors.separation == pytest.approx(0.5, abs=0.08)
    assert confidence(anchors.separation) == 0


def test_calibration_is_against_shuffled_pairs(views):
    pool = views(NUM_ROWS)
    joint_ND, hash_N, width_a, anchors = scored(pool)
    mispaired_ND = np.concatenate([joint_ND[:, :width_a], joint_ND[::-1, width_a:]], axis=1)
    shuffled_N = alignment_of(align_scores(hash_N + 10**6, mispaired_ND, width_a, anchors), anchors)
    assert np.mean(shuffled_N == 0) > 0.45  # more than half where most shuffled pairs share no anchor at all
    assert np.mean(shuffled_N == 1) == pytest.approx(0.05, abs=0.05)


def test_r_is_the_share_of_shuffled_pairs_below():
    counts = np.zeros(65536, np.int64)
    counts[:1000:10] = 1  # 100 shuffled pairs, scores 0, 10, ..., 990
    r_of_score = calibrate(counts)
    assert r_of_score[[0, 490, 500, 501, 951, 65535]] == pytest.approx([0, 0, 0, 0.01 / 0.45, 1, 1])
    assert r_of_score[725] == pytest.approx(0.23 / 0.45)


def test_rows_without_a_profile_are_neutral():
    joint_ND = np.full((20, 8), 1414, np.int16)
    anchors = fit_anchors(np.arange(20, dtype=np.uint64), joint_ND, 4)
    score_N = align_scores(np.arange(20, dtype=np.uint64), joint_ND, 4, anchors)
    assert set(score_N) == {NEUTRAL}
    assert set(alignment_of(score_N, anchors)) == {NEUTRAL_R}
    assert anchors.separation == 0.5


def test_too_few_anchors_are_neutral():
    joint_ND = quantize_joint(np.eye(3), np.eye(3))
    anchors = fit_anchors(np.arange(3, dtype=np.uint64), joint_ND, 3)
    assert set(align_scores(np.arange(3, dtype=np.uint64), joint_ND, 3, anchors)) == {NEUTRAL}


@dataclass(frozen=True)
class SharedSpace:
    """Both modalities in one space, some pairs shuffled."""

    a_ND: np.ndarray
    v_ND: np.ndarray
    is_misaligned_N: np.ndarray


@pytest.fixture(scope="module")
def shared():
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(20, 12))[rng.integers(0, 20, NUM_ROWS)] + 0.4 * rng.normal(size=(NUM_ROWS, 12))
    a_ND, v_ND = (latent + 0.3 * rng.normal(size=latent.shape) for _ in range(2))
    is_misaligned_N = rng.random(NUM_ROWS) < 0.1
    v_ND[is_misaligned_N] = v_ND[is_misaligned_N][::-1]
    return SharedSpace(a_ND, v_ND, is_misaligned_N)


@pytest.mark.parametrize("score", ["anchors", "prototypes", "cosine"])
def test_every_score_finds_shuffled_pairs_in_a_shared_space(shared, score):
    joint_ND, hash_N, width_a, anchors = scored(shared, score=score)
    r_N = alignment_of(align_scores(hash_N, joint_ND, width_a, anchors), anchors)
    assert roc_auc_score(~shared.is_misaligned_N, r_N) > 0.9
    assert anchors.separation > 0.9


def test_the_cosine_score_is_the_cosine(shared):
    joint_ND, hash_N, width_a, anchors = scored(shared, score="cosine")
    unit_2ND = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (shared.a_ND, shared.v_ND)]
    expected_N = 65535 * (np.sum(unit_2ND[0] * unit_2ND[1], axis=1) + 1) / 2
    assert np.abs(align_scores(hash_N, joint_ND, width_a, anchors) - expected_N).max() < 40


def test_widths_that_differ_need_anchors(views):
    with pytest.raises(InputError, match=r"align_score: 'cosine' needs both modalities in one space.*24 and 40"):
        scored(views(50), score="cosine")


def test_a_percentile_is_the_place_among_own_pairs():
    counts = np.zeros(65536, np.int64)
    counts[100:200] = 1
    assert percentile(counts)[[0, 100, 150, 199, 65535]] == pytest.approx([0, 0, 0.5, 0.99, 1])
