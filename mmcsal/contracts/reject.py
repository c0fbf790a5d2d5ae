"""REJECT: a sample that could not be read, and why. Nothing is dropped without a row here."""

from enum import StrEnum

import pyarrow as pa


class Reason(StrEnum):
    """Why a sample was rejected: a closed set, so that reports and dashboards can count by it."""

    MISSING_FILE = "missing_file"  # the path or the object does not exist or may not be read
    EMPTY_FILE = "empty_file"  # zero bytes
    NOT_MEDIA = "not_media"  # no container that the decoder knows
    NO_VIDEO = "no_video"  # a container without a video stream
    NO_AUDIO = "no_audio"  # a container without an audio stream
    TOO_SHORT = "too_short"  # less than `media.min_duration_s` of video or audio
    DECODE_ERROR = "decode_error"  # the streams are there, their data are damaged or cut off
    TOO_LARGE = "too_large"  # more pixels, frames, streams or memory than the limits of `media` allow
    CHANGED = "changed"  # the file is no longer the one that the manifest was made of
    TIMEOUT = "timeout"  # the decoder took longer than `media.timeout_s`
    CRASH = "crash"  # the decoder process died
    MISSING_MODALITY = "missing_modality"  # an embedding of one modality without the other
    ZERO_VECTOR = "zero_vector"  # an embedding without a direction
    NOT_FINITE = "not_finite"  # an embedding with NaN or infinite values
    BAD_NAME = "bad_name"  # the name of the file is not UTF-8: no table can hold it
    UNREADABLE_FOLDER = "unreadable_folder"  # a folder of the corpus that may not be listed: what is in it is not known


REJECT = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
