"""The pools that selections are judged on: a real two-view set under a condition, and a test set that goes with it.

For each seed a stratified third of the rows, at most 2000, is the test: it keeps the set's own class shares and is
never shuffled. The rest is the pool: first its classes are cut to a long tail, then it is subsampled, then shuffled. A
shuffled pair has the label of its first view.

Where the second view says little, it is one of another set, in part or alone: it has structure, but nothing of the
class. Of both halves of the rows, those that are tested too, as a downstream model has to live with it.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from benchmarks import pools
from benchmarks.pools import Pool
from mmcsal.evaluation.samples import Samples
from mmcsal.evaluation.spec import EvaluateSpec

SETS = {
    "digits": pools.digits,
    "mfeat": partial(pools.mfeat, "pix", "zer"),
    "letter": pools.letter,
    "satellite": pools.satellite,
}
OTHER_SETS = {"digits": "letter", "mfeat": "satellite", "letter": "satellite", "satellite": "letter"}
TEST_FRACTION, MAX_TEST_ROWS = EvaluateSpec().test_fraction, 2000


@dataclass(frozen=True)
class Condition:
    """What is done to the pool of a set."""

    shuffled: float = 0.0  # share of the pairs whose second view is another pair's
    tail_ratio: float = 1.0  # the largest class against the smallest; 1 leaves the classes as they are
    other: float = 0.0  # share of the second view's squared length that is the second view of another set


AS_IT_IS, HALF_SHARED, NOTHING_SHARED = "clean", "half of another set", "all of another set"
CONDITIONS = {
    AS_IT_IS: Condition(),
    "10% shuffled": Condition(shuffled=0.1),
    "20% shuffled": Condition(shuffled=0.2),
    "long tail + 10%": Condition(shuffled=0.1, tail_ratio=20),
    HALF_SHARED: Condition(other=0.5),
    NOTHING_SHARED: Condition(other=1.0),
}


PAIRINGS = (AS_IT_IS, "10% shuffled", "20% shuffled", "long tail + 10%")  # what may be wrong with the pairs
SHARES = (AS_IT_IS, HALF_SHARED, NOTHING_SHARED)  # what the second view says


class Place(NamedTuple):
    """A set under a condition: trials are compared within it."""

    set_name: str
    condition: str


def pool_and_test(place: Place, seed: int, max_pool_rows: int | None = None) -> tuple[Samples, Samples]:
    """The same split for all conditions of a seed."""
    from sklearn.model_selection import train_test_split

    whole, what = whole_set(place.set_name), CONDITIONS[place.condition]
    label_N = _labels(whole)
    pool_rows, test_rows = train_test_split(
        np.arange(len(whole)), test_size=TEST_FRACTION, stratify=label_N, random_state=seed
    )
    if len(test_rows) > MAX_TEST_ROWS:
        test_rows, _ = train_test_split(
            test_rows, train_size=MAX_TEST_ROWS, stratify=label_N[test_rows], random_state=seed
        )
    pool, test = whole.take(pool_rows), whole.take(test_rows)
    if what.tail_ratio > 1:
        pool = pools.long_tail(pool, what.tail_ratio, seed)
    pool = pool.take(np.random.default_rng(seed).permutation(len(pool))[:max_pool_rows])
    if what.other:
        others = whole_set(OTHER_SETS[place.set_name]).v_ND
        drawn = np.random.default_rng(seed).permutation(len(others))[: len(pool) + len(test)]
        pool = pools.with_other_view(pool, others[drawn[: len(pool)]], what.other)
        test = pools.with_other_view(test, others[drawn[len(pool) :]], what.other)
    pool, is_shuffled_N = pools.shuffled(pool, what.shuffled, seed)
    classes = tuple(f"{number:02d}" for number in range(label_N.max() + 1))
    return _labeled(pool, classes, is_shuffled_N), _labeled(test, classes)


whole_set = cache(lambda set_name: SETS[set_name]())


def _labeled(rows: Pool, classes: tuple[str, ...], is_shuffled_N: np.ndarray | None = None) -> Samples:
    ids = np.array([f"{number:05d}" for number in range(len(rows))], object)
    return Samples(ids, rows.a_ND, rows.v_ND, _labels(rows), classes, is_shuffled_N)


def _labels(rows: Pool) -> np.ndarray:
    assert rows.label_N is not None
    return rows.label_N
