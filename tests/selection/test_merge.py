import numpy as np
import pyarrow as pa

from mmcsal.contracts.candidate import CANDIDATE
from mmcsal.selection.bag import Candidates
from mmcsal.selection.merge import best, candidate_table


def candidates(ids, gains):
    ones = np.ones(len(ids), np.int64)
    return Candidates(
        pa.array(ids), np.arange(len(ids), dtype=np.uint64), ones * 2**33, ones, np.array(gains), ones, ones
    )


def test_the_best_are_taken_with_ties_by_id():
    proposed = candidates(["d", "c", "b", "a"], [5, 7, 5, 5])
    assert best(proposed, 3).tolist() == [1, 3, 2]


def test_gains_above_53_bits_are_told_apart():
    assert best(candidates(["a", "b"], [2**60, 2**60 + 1]), 1).tolist() == [1]


def test_the_table_keeps_its_contract():
    table = candidate_table(candidates(["d", "c"], [5, 7]), rows_each=2.5)
    assert table.schema == CANDIDATE
    assert table.to_pylist()[1] == {"cell": 0, "rank": 1, "sample_id": "c", "mass": 2.5, "gain": 7}
