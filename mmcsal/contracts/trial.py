"""TRIAL: what the picks of one strategy were worth, one row for each strategy, budget and seed of an evaluation."""

import pyarrow as pa

TRIAL = pa.schema(
    [
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("budget", pa.float64(), nullable=False),  # as asked for: a share of the pool, or a count from 1 up
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("num_picks", pa.int64(), nullable=False),
        pa.field("num_pool", pa.int64(), nullable=False),
        pa.field("num_test", pa.int64(), nullable=False),
        pa.field("accuracy", pa.float64(), nullable=False),  # of the fused classifier, on samples of the test split
        pa.field("macro_f1", pa.float64(), nullable=False),
        pa.field("calibration_error", pa.float64(), nullable=False),
        pa.field("accuracy_a", pa.float64(), nullable=False),  # of the classifier of each modality alone
        pa.field("accuracy_v", pa.float64(), nullable=False),
        pa.field("class_recall", pa.list_(pa.float64()), nullable=False),  # by class, in the order of their names
        pa.field("class_picks", pa.list_(pa.int64()), nullable=False),  # picks of each class
        pa.field("agreement", pa.float64(), nullable=False),  # mean alignment score of the picks less that of the pool
        pa.field("density", pa.float64(), nullable=False),  # mean place of the picks in the pool's order of density
        pa.field("misaligned_share", pa.float64()),  # share of misaligned picks / of the pool; null = not known
        pa.field("seconds", pa.float64(), nullable=False),  # that choosing took
    ]
)
