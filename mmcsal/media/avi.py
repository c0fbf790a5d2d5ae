"""Empty chunks of sound in an AVI file: time in which nothing sounds, which ffmpeg's demuxer passes over."""

import os
import struct
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.audio import AudioStream

from mmcsal.media.clock import MAX_ENCODER_LAG

_ENTRY = np.dtype([("kind", "S4"), ("flags", "<u4"), ("position", "<u4"), ("num_bytes", "<u4")])


class Delays:
    """By how much the sound of one stream is later than the demuxer says, for the empty chunks before it."""

    def __init__(self, timestamps: np.ndarray, num_empty: np.ndarray, time_base: Fraction) -> None:
        self._timestamps, self._num_empty, self._time_base = timestamps, num_empty, time_base

    def put(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame, at the time at which it is heard."""
        if frame.pts is not None and frame.time_base == self._time_base:
            before = np.searchsorted(self._timestamps, frame.pts, side="right") - 1
            frame.pts += int(self._num_empty[max(before, 0)])
        return frame


def delays_of(path: str, stream: AudioStream) -> Delays | None:
    """The delays of a stream whose chunks are each one step of its clock; None where there are none to tell of.

    A few empty chunks after the first are no time: as in a picture, they are the wait of its encoder.
    """
    if not stream.index_entries or stream.time_base is None:
        return None
    with open(path, "rb") as file:
        index = _index_of(file)
    is_empty = index["num_bytes"][index["kind"] == b"%02dwb" % stream.index] == 0
    timestamps = np.array([entry.timestamp for entry in stream.index_entries])
    num_empty = np.cumsum(is_empty)[~is_empty]
    if len(num_empty) != len(timestamps):
        return None
    if len(num_empty) > 1 and num_empty[1] <= MAX_ENCODER_LAG:
        num_empty[1:] -= num_empty[1]
    if not num_empty.any():
        return None
    return Delays(timestamps, num_empty, stream.time_base)


def _index_of(file: BinaryIO) -> np.ndarray:
    """The entries of the index `idx1`; none where it is missing."""
    num_bytes = os.fstat(file.fileno()).st_size
    offset = 12  # RIFF, its length, its kind
    while offset + 8 <= num_bytes:
        file.seek(offset)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"idx1":
            data = file.read(min(length, num_bytes - offset - 8))
            return np.frombuffer(data[: len(data) // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY)
        offset += 8 + length + length % 2
    return np.zeros(0, _ENTRY)
