"""For which files a backend that jumps to frames is proven to show those that are shown when all are read in order."""

import os

from mmcsal.media.picture import MP4, Picture

# Containers with such codecs. Key frames of the first have to be of a kind that needs nothing before it (IDR); those of
# the second always are; of the third, they are where there are no B-frames.
BY_UNIT = {"h264": (range(1, 6), {5}), "hevc": (range(32), {19, 20})}  # kinds of units that hold a picture; IDR
ALWAYS_CLOSED = {"vp8", "vp9", "libdav1d", "av1", "mjpeg"}
WITHOUT_B_FRAMES = {"mpeg4"}
# Both backends read a whole file's packets before its first frame: past this, that costs more than decoding does.
MAX_FRAMES = 20_000


def is_plain_mp4(picture: Picture) -> bool:
    """Whether this is an MP4 or QuickTime file with one picture, shown from zero on, whole, upright and square."""
    entries = picture.stream.index_entries
    if not has_plain_picture(picture) or len(entries) > MAX_FRAMES:
        return False
    return closed_keys(picture, 0, len(entries)) is not None


def has_plain_picture(picture: Picture) -> bool:
    """As `is_plain_mp4`, of a film of any length whose frames nobody has looked at."""
    stream, first = picture.stream, picture.first.frame
    return (
        picture.format == MP4
        and 0 < len(stream.index_entries) == stream.frames
        and len(picture.container.streams.video) == 1
        and picture.display.is_plain
        and picture.first.time_s == 0
        and (first.width, first.height) == (stream.width, stream.height)
    )


def closed_keys(picture: Picture, begin: int, end: int) -> list[int] | None:
    """The times in the index of its key frames from entry `begin` to `end`.

    None where a frame is left out by an edit, or one after a key frame leans on what is before that.
    """
    name, context = picture.stream.codec_context.name, picture.stream.codec_context
    entries, keys = picture.stream.index_entries, []
    for number in range(begin, end):
        entry = entries[number]
        if entry.is_discard:
            return None
        if entry.is_keyframe:
            keys.append(entry)
    times = [entry.timestamp for entry in keys]
    if name in ALWAYS_CLOSED or (name in WITHOUT_B_FRAMES and not context.has_b_frames):
        return times
    if name not in BY_UNIT or not context.extradata:
        return None
    if len(keys) <= 1:  # nowhere to jump to
        return times
    with open(picture.path, "rb") as file:
        is_closed = all(_is_idr(file.fileno(), entry.pos, name, context.extradata) for entry in keys)
    return times if is_closed else None


def _is_idr(file: int, position: int, codec: str, extradata: bytes) -> bool:
    """Whether the first coded picture at `position` needs nothing before it; its units carry their lengths."""
    pictures, closed = BY_UNIT[codec]
    size_bytes = (extradata[4 if codec == "h264" else 21] & 3) + 1
    for _ in range(64):  # headers and messages may come before the picture
        head = os.pread(file, size_bytes + 1, position)
        if len(head) <= size_bytes:
            return False
        kind = head[-1] & 31 if codec == "h264" else head[-1] >> 1 & 63
        if kind in pictures:
            return kind in closed
        position += size_bytes + int.from_bytes(head[:-1], "big")
    return False
