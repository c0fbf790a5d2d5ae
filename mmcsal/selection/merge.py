"""The merge: the best candidates of all cells.

Gains inside a cell never rise, so the best B by (gain, id) are a prefix of every cell's list: exactly the global greedy
on the objective in which cells do not cover each other. No quotas, no second solve.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.candidate import CANDIDATE
from mmcsal.selection.bag import Candidates


def best(candidates: Candidates, num_picks: int) -> np.ndarray:
    """Places of the best `num_picks` candidates by (-gain, sample_id), int64 [P]."""
    table = pa.table({"gain": candidates.gain_C, "sample_id": candidates.ids})
    keys = pc.SortOptions([("gain", "descending"), ("sample_id", "ascending")])
    order = pc.call_function("sort_indices", [table], keys)
    return order.to_numpy()[:num_picks].astype(np.int64)


def candidate_table(candidates: Candidates, *, rows_each: float) -> pa.Table:
    """The CANDIDATE table; `rows_each` is how many rows of the pool a row of the solver stands for."""
    _, cell_C = np.unique(candidates.cell_C, return_inverse=True)
    columns = [cell_C, candidates.rank_C, candidates.ids, candidates.mass_C * rows_each, candidates.gain_C]
    return pa.table([pa.array(c).cast(f.type) for c, f in zip(columns, CANDIDATE, strict=True)], schema=CANDIDATE)
