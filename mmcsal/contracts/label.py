"""LABEL: what annotators said of a selected sample."""

import pyarrow as pa

LABEL = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("annotator", pa.string()),
        pa.field("aligned", pa.bool_()),
        pa.field("round", pa.int32(), nullable=False),
    ]
)
