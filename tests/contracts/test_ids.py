import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmcsal.contracts.ids import hash_id, hash_ids, order_by_hash, partitions_of, places_of_hashes

ids = st.lists(st.text(), unique=True, min_size=1, max_size=50)


def test_hashes_never_change():
    """A run directory written today is read by next year's release: partitions may not move."""
    assert hash_id("clip-000001.mp4") == 16882250917173488230
    assert hash_id("clip-000001.mp4", salt="x") != hash_id("clip-000001.mp4")


def test_hashes_spread_evenly():
    counts = np.bincount(partitions_of((f"clip-{i}" for i in range(20_000)), 16), minlength=16)
    assert counts.min() > 1100
    assert counts.max() < 1400


@given(ids, st.randoms())
def test_neither_partition_nor_order_depends_on_the_order_of_rows(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert dict(zip(names, partitions_of(names, 7), strict=True)) == dict(
        zip(shuffled, partitions_of(shuffled, 7), strict=True)
    )
    assert [names[i] for i in order_by_hash(names)] == [shuffled[i] for i in order_by_hash(shuffled)]


@given(ids)
def test_hashes_of_many_are_those_of_one(names):
    assert hash_ids(names).tolist() == [hash_id(n) for n in names]


@given(st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(0, 30), unique=True, max_size=20))
def test_places_are_those_of_a_plain_look_up(hashes, among):
    found = places_of_hashes(np.array(hashes, np.uint64), np.array(among, np.uint64))
    assert found.tolist() == [among.index(h) if h in among else -1 for h in hashes]
