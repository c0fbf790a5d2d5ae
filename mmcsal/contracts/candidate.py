"""CANDIDATE: a sample that a cell proposes, with its gain and the mass of the pool that it stands for."""

import pyarrow as pa

CANDIDATE = pa.schema(
    [
        pa.field("cell", pa.int64(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # in the cell, from 0
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("mass", pa.float64(), nullable=False),  # rows of the pool that it is nearest to
        pa.field("gain", pa.int64(), nullable=False),  # of the objective, in integer units: exact and comparable
    ]
)
