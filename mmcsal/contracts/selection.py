"""What the select stage leaves.

SELECTION: the ranked, merged batch, and why each sample is in it.
CANDIDATE: a sample that a cell proposes, with its gain and the mass of the pool that it stands for.
"""

import pyarrow as pa

SELECTION = pa.schema(
    [
        pa.field("rank", pa.int32(), nullable=False),  # from 0
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("gain", pa.float64(), nullable=False),  # what the pick added to the objective
        pa.field("coverage", pa.float64(), nullable=False),  # its term of distribution
        pa.field("alignment", pa.float64(), nullable=False),  # its alignment score r in [0, 1]
        pa.field("redundancy", pa.float64(), nullable=False),  # largest kernel to the picks before it, in [0, 1]
        pa.field("mass", pa.float64(), nullable=False),  # rows of the pool that it represents
        pa.field("nearest_selected", pa.string()),  # the closest pick before it; null for the first
        pa.field("runner_up", pa.string()),  # the sample that would replace it at the smallest loss; null = none
        pa.field("cost", pa.float64()),  # null where samples have no costs
        pa.field("reason", pa.string(), nullable=False),  # a sentence
        pa.field("round", pa.int32(), nullable=False),
    ]
)
CANDIDATE = pa.schema(
    [
        pa.field("cell", pa.int64(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # in the cell, from 0
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("mass", pa.float64(), nullable=False),  # rows of the pool that it is nearest to
        pa.field("gain", pa.int64(), nullable=False),  # of the objective, in integer units: exact and comparable
    ]
)
