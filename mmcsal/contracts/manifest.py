"""MANIFEST: one row a sample, where its media lie, and what is known of it."""

import pyarrow as pa

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")  # of the images in a folder of frames, to which `uri` may lead
MANIFEST = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("uri", pa.string()),  # the file that holds all modalities, or the visual one
        pa.field("audio_uri", pa.string()),  # where the sound lies when it is not in `uri`
        pa.field("text", pa.string()),
        pa.field("start_s", pa.float64()),  # the part of the file that is this sample; null = from its beginning
        pa.field("duration_s", pa.float64()),  # null = to its end
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),  # of a corpus with official ones: train or test
        pa.field("cost", pa.float64()),
        pa.field("source", pa.string(), nullable=False),  # the kind of dataset; of a segment, the sample that it is of
        pa.field("content_hash", pa.string()),  # of size, head and tail of the file: tells a changed file
        pa.field("reject_reason", pa.string()),  # what the scan knows already: ingest rejects the row without decoding
        pa.field("reject_detail", pa.string()),
    ]
)
