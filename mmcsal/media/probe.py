"""Opens a media file, or says in plain words why not; what its headers promise; the error that turns into a reject."""

import os
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer

from mmcsal.contracts.reject import Reason

# Boxes in which an MP4 or QuickTime file may begin; one that begins in a fragment has lost its beginning, not its end.
FIRST_BOXES = {b"ftyp", b"wide", b"mdat", b"free", b"skip", b"pnot"}


class MediaError(Exception):
    """A sample cannot be read. `reason` is of the closed set, `detail` is for the reader."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class MediaFacts:
    """What the headers promise of the chosen streams; 0 where a container does not say."""

    container: str  # ffmpeg's short name of the format, such as "mpegts"
    video_codec: str
    audio_codec: str
    width_px: int  # as coded: before turning, and before pixels are made square
    height_px: int
    frame_rate_hz: float
    num_frames: int
    video_duration_s: float  # how long there is a picture, from the first frame to the end of the last
    sample_rate_hz: int


def open_media(path: str) -> InputContainer:
    """Opens a local media file.

    Raises:
        MediaError: missing, empty, in no format that the decoder knows, or without the index that its end held.
    """
    check_file(path)
    try:
        return av.open(path, metadata_errors="replace")
    except av.error.FFmpegError as error:
        if _is_without_index(path):
            raise MediaError(Reason.DECODE_ERROR, "cut off: no index (moov)") from error
        raise MediaError(Reason.NOT_MEDIA, f"not a media file: {in_words(error)}") from error


def check_file(path: str) -> None:
    """Looks at a file before a decoder does.

    Raises:
        MediaError: it is not there, no regular file, may not be read, or is empty.
    """
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise MediaError(Reason.MISSING_FILE, f"{path}: not a regular file")
        if facts.st_size == 0:
            raise MediaError(Reason.EMPTY_FILE, "the file has zero bytes")
        with open(path, "rb"):  # a decoder that says "no such file" of one that is there means something inside it
            pass
    except (FileNotFoundError, PermissionError) as error:
        raise MediaError(Reason.MISSING_FILE, f"{path}: {error.strerror}") from error


def in_words(error: Exception) -> str:
    """What a decoder's error says, without the path, the numbers and the log lines that differ between two runs."""
    return getattr(error, "strerror", None) or type(error).__name__


def _is_without_index(path: str) -> bool:
    """Whether this is an MP4 or QuickTime file with data (mdat) whose index (moov), due after them, is not there."""
    with open(path, "rb") as file:
        kinds = list(_boxes(file, os.fstat(file.fileno()).st_size))
    return bool(kinds) and kinds[0] in FIRST_BOXES and b"mdat" in kinds and b"moov" not in kinds


def _boxes(file: BinaryIO, num_bytes: int):
    """The kinds of the outermost boxes, as far as they follow each other."""
    offset = 0
    while offset + 8 <= num_bytes:
        file.seek(offset)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        if not kind.isalnum():
            return
        yield kind
        if size < 8:  # 0: to the end of the file
            return
        offset += size
