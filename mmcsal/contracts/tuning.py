"""TUNING: what one setting of the selection was worth, one row for each setting, budget and seed of a search."""

import pyarrow as pa

TUNING = pa.schema(
    [
        pa.field("setting", pa.int64(), nullable=False),  # 0 = the present one
        pa.field("settings", pa.string(), nullable=False),  # JSON: value by dotted key
        pa.field("phase", pa.string(), nullable=False),  # search, or check: on fresh seeds
        pa.field("budget", pa.float64(), nullable=False),  # as asked for: a share of the pool, or a count from 1 up
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("num_picks", pa.int64(), nullable=False),
        pa.field("num_pool", pa.int64(), nullable=False),
        pa.field("num_test", pa.int64(), nullable=False),
        pa.field("accuracy", pa.float64()),  # of the fused classifier, on samples never selected; null without labels
        pa.field("macro_f1", pa.float64()),
        pa.field("coverage", pa.float64(), nullable=False),  # of the samples never selected by the picks, in [0, 1]
        pa.field("seconds", pa.float64(), nullable=False),  # that selecting took
    ]
)
