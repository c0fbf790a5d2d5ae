import numpy as np
import pytest

from mmcsal import select_pairs
from mmcsal.contracts.errors import InputError
from mmcsal.selection import PairScores, SelectSpec
from mmcsal.selection.objective.alignment import NEUTRAL, NEUTRAL_R, alignment_of
from mmcsal.selection.objective.pair_scores import fit_pair_scores

NUM_RIGHT, NUM_WRONG, NUM_NULL = 900, 100, 60


def scores(shift: float = 4.0, num_wrong: int = NUM_WRONG, seed: int = 0) -> PairScores:
    """Right pairs above wrong ones, and a null sample like the wrong ones."""
    rng = np.random.default_rng(seed)
    own_N = np.concatenate([rng.normal(shift, 1, NUM_RIGHT), rng.normal(0, 1, num_wrong)])
    return PairScores(own_N, rng.normal(0, 1, NUM_NULL))


def fitted(given: PairScores, calibration="shuffled"):
    return fit_pair_scores(np.arange(len(given.score_N), dtype=np.uint64), given, calibration)


def test_wrong_pairs_get_a_low_alignment_and_their_share_is_found():
    known = fitted(scores())
    r_N = alignment_of(known.score_N, known)
    assert r_N[:NUM_RIGHT].mean() > 0.95
    assert r_N[NUM_RIGHT:].mean() < 0.35
    assert known.mispaired_share == pytest.approx(0.1, abs=0.03)
    assert known.trust == 1


def test_without_wrong_pairs_none_are_found():
    assert fitted(scores(num_wrong=0)).mispaired_share < 0.01


def test_a_null_sample_on_the_wrong_side_is_not_trusted():
    """Scores of which less is better, or a null sample that was taken for the pairs: 1.0 would steer to wrong pairs."""
    given = scores()
    assert fitted(PairScores(-given.score_N, -given.null_M)).trust == 0
    swapped = fitted(PairScores(given.null_M, given.score_N))
    assert (swapped.trust, swapped.separation < 0.2) == (0, True)


def test_noise_does_not_steer_and_a_score_that_ranks_a_little_does():
    assert np.mean([fitted(scores(shift=0.0, seed=s)).trust for s in range(20)]) < 0.1
    assert np.mean([fitted(scores(shift=0.9, seed=s)).trust for s in range(20)]) > 0.8


def test_only_the_order_of_scores_counts():
    given = scores()
    bent = fitted(PairScores(np.exp(given.score_N), np.exp(given.null_M)))
    assert np.array_equal(bent.score_N, fitted(given).score_N)


def test_unknown_scores_are_neutral():
    given = scores()
    given.score_N[5] = np.nan
    known = fitted(given)
    assert known.score_N[5] == NEUTRAL
    assert alignment_of(known.score_N, known)[5] == NEUTRAL_R


def test_without_a_null_sample_a_score_is_its_place_in_the_pool():
    given = scores()
    known = fitted(PairScores(given.score_N, np.zeros(0)))
    r_N = alignment_of(known.score_N, known)
    assert np.argmin(r_N) == np.argmin(given.score_N)
    assert (known.separation, known.mispaired_share, known.num_null) == (0.5, 0.0, 0)


@pytest.fixture(scope="module")
def pool(views):
    return views(NUM_RIGHT + NUM_WRONG, seed=1)


def picks(pool, config=None, given=None, order=None):
    """The rows that are picked, and the selection."""
    order = np.arange(len(pool.a_ND)) if order is None else order
    given = given and PairScores(given.score_N[order], given.null_M)
    chosen = select_pairs(
        pool.a_ND[order], pool.v_ND[order], 200, sample_ids=order.tolist(), config=config, alignment=given
    )
    return sorted(map(int, chosen.sample_ids)), chosen


def test_ones_own_scores_steer_the_selection_whatever_the_order_of_rows(pool):
    given = scores()
    plain, _ = picks(pool)
    steered, first = picks(pool, given=given)
    assert sum(i >= NUM_RIGHT for i in steered) < 0.5 * sum(i >= NUM_RIGHT for i in plain)
    _, other = picks(pool, given=given, order=np.random.default_rng(3).permutation(len(pool.a_ND)))
    assert first.table.equals(other.table)
    assert first.summary == other.summary
    assert first.summary["alignment_told"].startswith("About 1")


def test_scores_are_left_alone_where_another_score_is_asked_for(pool):
    anchors, _ = picks(pool)
    assert picks(pool, SelectSpec(align_score="anchors"), scores())[0] == anchors


def test_what_does_not_fit_is_told(pool):
    with pytest.raises(InputError, match="one score a row"):
        select_pairs(pool.a_ND, pool.v_ND, 5, alignment=PairScores(np.zeros(3), np.zeros(2)))
    with pytest.raises(InputError, match=r"pretrain\.decoys\.share"):
        select_pairs(pool.a_ND, pool.v_ND, 5, config=SelectSpec(align_score="evidence"))


def test_the_threshold_is_high_once_a_tenth_looks_mispaired_and_low_where_nothing_does(pool):
    assert picks(pool, given=scores())[1].summary["align_threshold"] > 0.8
    rng = np.random.default_rng(0)
    clean = PairScores(rng.normal(6, 1, NUM_RIGHT + NUM_WRONG), rng.normal(0, 1, NUM_NULL))
    assert picks(pool, given=clean)[1].summary["align_threshold"] == 0.3
