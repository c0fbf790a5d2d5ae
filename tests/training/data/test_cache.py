import numpy as np

from mmcsal.training.data.cache import ArrayCache

KILOBYTE = (np.zeros(600, np.uint8), np.zeros(200, np.int16))


def test_what_was_not_used_for_longest_is_dropped_first():
    cache = ArrayCache(max_bytes=3000)
    for key in (1, 2, 3):
        cache.put(key, KILOBYTE)
    assert cache.get(1) is KILOBYTE
    cache.put(4, KILOBYTE)
    assert [key for key in range(6) if cache.get(key) is not None] == [1, 3, 4]
    assert (len(cache), cache.num_bytes) == (3, 3000)


def test_the_newest_is_held_however_large_it_is():
    cache = ArrayCache(max_bytes=1)
    for key in (1, 2):
        cache.put(key, KILOBYTE)
    assert cache.get(1) is None
    assert cache.get(2) is KILOBYTE
    assert cache.num_bytes == 1000
