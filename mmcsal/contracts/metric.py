"""METRIC: one number that a stage measured, in long form so that new metrics need no new columns."""

import pyarrow as pa

METRIC = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("epoch", pa.int32()),  # -1 = before training; null where there are no epochs
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
