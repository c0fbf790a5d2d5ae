"""CLIP tables of tensors that no file was decoded for."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmcsal.contracts.clip import clip_schema, tensor_column


def clip_table(
    sample_ids: Sequence[str], video_NTHWC: np.ndarray, audio_NL: np.ndarray, *, duration_s: float, sample_rate_hz: int
) -> pa.Table:
    """The CLIP table of these clips, one row each, whose source was as long, large and fast as they are.

    Args:
        video_NTHWC: uint8, square frames, C = 3.
        audio_NL: int16.
    """
    _, num_frames, size_px, *_ = video_NTHWC.shape
    facts = (duration_s, size_px, size_px, num_frames / duration_s, sample_rate_hz)  # the last columns, in their order
    shape = {"num_frames": num_frames, "frame_size_px": size_px, "num_audio_samples": audio_NL.shape[1]}
    schema = clip_schema(**shape, sample_rate_hz=sample_rate_hz)
    columns = [pa.array(sample_ids, pa.string()), tensor_column(video_NTHWC), tensor_column(audio_NL)]
    types = schema.types[len(columns) :]
    columns += [pa.array([fact] * len(sample_ids), type) for fact, type in zip(facts, types, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)
