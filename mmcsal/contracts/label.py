"""LABEL: what annotators said of samples, one row a sample and an annotator."""

import pyarrow as pa

LABEL = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("annotator", pa.string()),
        pa.field("aligned", pa.bool_()),  # whether the modalities belong together; null = not said
        pa.field("round", pa.int32()),  # that the sample was selected in; null = not known
    ]
)
