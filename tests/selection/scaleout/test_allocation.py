import numpy as np
import pyarrow as pa

from mmcsal.selection.scaleout.allocation import best
from mmcsal.selection.scaleout.buckets import Candidates


def candidates(ids, keys):
    ones = np.ones(len(ids), np.int64)
    hash_C = np.arange(len(ids), dtype=np.uint64)
    return Candidates(pa.array(ids), hash_C, ones, ones, ones, np.array(keys, np.float64), ones)


def test_the_best_come_first_with_ties_by_id():
    assert best(candidates(["d", "c", "b", "a"], [5, 7, 5, 5])).tolist() == [1, 3, 2, 0]
