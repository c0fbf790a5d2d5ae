"""EVIDENCE: per sample, what training tells of whether its modalities belong together."""

import pyarrow as pa

EVIDENCE = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        # log of the probability of the sample's partner among a batch, mean over the epochs; null = never trained on
        pa.field("mean_log_p", pa.float64()),
        pa.field("num_seen", pa.int32(), nullable=False),  # times that it was trained on
        pa.field("is_decoy", pa.bool_(), nullable=False),  # trained with another sample's sound on purpose
        pa.field("partner_id", pa.string()),  # of a decoy, the sample whose sound it was trained with
    ]
)
