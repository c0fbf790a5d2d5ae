"""Valid media of twelve kinds, and what turns one into a damaged, slipped or lying file: all from one seed each."""

import io
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np

DURATION_S, WIDTH_PX, HEIGHT_PX = 2, 128, 64
HEADER_BYTES = 4096
BOXES_THAT_HOLD_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts")
NUMBERS_THAT_LIE = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Kind(NamedTuple):
    """A container, the codecs of its picture and sound, and the rates that they know."""

    suffix: str
    container: str
    video: str
    audio: str
    options: dict[str, str] = {}  # noqa: RUF012 (never changed)
    frame_rate_hz: int = 12
    sample_rate_hz: int = 48_000
    layout: str = "mono"


KINDS = {
    "mp4 h264": Kind("mp4", "mp4", "libx264", "aac", {"movflags": "faststart"}),
    "mp4 hevc": Kind("mp4", "mp4", "libx265", "aac"),
    "mp4 in fragments": Kind("mp4", "mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "mov mpeg4": Kind("mov", "mov", "mpeg4", "pcm_s16le"),
    "matroska h264": Kind("mkv", "matroska", "libx264", "ac3"),
    "webm vp9": Kind("webm", "webm", "libvpx-vp9", "libopus"),
    "avi mpeg4": Kind("avi", "avi", "mpeg4", "libmp3lame"),
    "mpegts h264": Kind("ts", "mpegts", "libx264", "aac"),
    "mpeg ps": Kind("mpg", "mpeg", "mpeg2video", "mp2", frame_rate_hz=25),
    "flv": Kind("flv", "flv", "flv", "libmp3lame", sample_rate_hz=44_100),
    "wmv": Kind("wmv", "asf", "wmv2", "wmav2", sample_rate_hz=44_100, layout="stereo"),
    "mxf": Kind("mxf", "mxf", "mpeg2video", "pcm_s16le", frame_rate_hz=25, layout="stereo"),
}
ENCODER_OPTIONS = {"g": "8", "x265-params": "log-level=none"}


def write_valid(kind: Kind, path: Path) -> None:
    """Two seconds of a moving pattern with a tone."""
    with av.open(str(path), "w", format=kind.container, options=kind.options) as out:
        picture = out.add_stream(kind.video, rate=kind.frame_rate_hz, options=ENCODER_OPTIONS)
        picture.width, picture.height, picture.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        sound = out.add_stream(kind.audio, rate=kind.sample_rate_hz, layout=kind.layout)
        if kind.audio != "pcm_s16le":
            sound.bit_rate = 96_000
        for t in range(DURATION_S * kind.frame_rate_hz):
            image = (np.add.outer(np.arange(HEIGHT_PX), np.arange(WIDTH_PX)) * 2 + t * 9) % 256
            frame = av.VideoFrame.from_ndarray(np.uint8(np.stack([image, 255 - image, image // 2], -1)), "rgb24")
            frame.pts = t
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for part in _tone(kind, sound):
            out.mux(sound.encode(part))
        out.mux(sound.encode(None))


def _tone(kind: Kind, sound: av.AudioStream) -> Iterator[av.AudioFrame]:
    """In frames as the encoder wants them."""
    time_L = np.arange(DURATION_S * kind.sample_rate_hz) / kind.sample_rate_hz
    wave_L = np.int16(9000 * np.sin(time_L * 2 * np.pi * 330))
    num_channels = 1 if kind.layout == "mono" else 2
    frame = av.AudioFrame.from_ndarray(np.repeat(wave_L, num_channels)[None], format="s16", layout=kind.layout)
    frame.sample_rate, frame.pts = kind.sample_rate_hz, 0
    resampler = av.AudioResampler(sound.format.name, kind.layout, kind.sample_rate_hz, sound.frame_size or None)
    yield from resampler.resample(frame)
    yield from resampler.resample(None)


# --- mutations: bytes of a valid file and a source of chance, to bytes ---


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bits, anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 4, 32, 256))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, or the beginning, or a piece between."""
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return rng.choice((data[:a], data[b:], data[:a] + data[b:], data[: a + 1] + bytes(b - a) + data[b:]))


def lie_in_header(data: bytes, rng: random.Random) -> bytes:
    """Numbers of the first or the last bytes, where containers keep sizes, counts and rates, are extreme ones."""
    changed = bytearray(data)
    first = 0 if rng.random() < 0.7 else max(0, len(data) - HEADER_BYTES)
    for _ in range(rng.choice((1, 2, 8))):
        size = rng.choice("BHI")
        place = first + rng.randrange(min(HEADER_BYTES, len(data) - first - 4))
        number = rng.choice(NUMBERS_THAT_LIE) % (1 << 8 * struct.calcsize(size))
        struct.pack_into(rng.choice("<>") + size, changed, place, number)
    return bytes(changed)


def move_boxes(data: bytes, rng: random.Random) -> bytes:
    """A box (or a piece as long as one) is lost, doubled, renamed, of another size, or in another place."""
    boxes = list(_boxes(data, 0, len(data))) or [(a := rng.randrange(len(data)), a + rng.randrange(8, 2048))]
    start, end = rng.choice(boxes)
    box = data[start:end]
    match rng.randrange(5):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:end] + box + data[end:]
        case 2:
            return data[: start + 4] + rng.choice((b"free", b"trak", b"mdat", b"\0\0\0\0")) + data[start + 8 :]
        case 3:
            return data[:start] + struct.pack(">I", rng.choice(NUMBERS_THAT_LIE)) + data[start + 4 :]
        case _:
            other = rng.choice(boxes)[0]
            rest = data[:start] + data[end:]
            return rest[:other] + box + rest[other:]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of the boxes of an ISO file, also those within others; nothing of other containers."""
    while start + 8 <= end:
        size, name = struct.unpack(">I4s", data[start : start + 8])
        if size < 8 or start + size > end or not name.isalnum():
            return
        yield start, start + size
        if name in BOXES_THAT_HOLD_BOXES:
            yield from _boxes(data, start + 8, start + size)
        start += size


def promise_more_frames(data: bytes, rng: random.Random) -> bytes:
    """The index promises frames that are not there: counts of tables are raised, or what they point at is cut off."""
    changed = bytearray(data)
    for table, offset in ((b"stts", 12), (b"stsz", 12), (b"ctts", 12), (b"mdhd", 20), (b"tkhd", 24)):
        place = data.find(table)
        while place >= 0 and place + offset + 4 <= len(data):
            [count] = struct.unpack_from(">I", changed, place + offset)
            struct.pack_into(">I", changed, place + offset, min(count * rng.choice((2, 10, 1000)) + 1, 0xFFFFFFFF))
            place = data.find(table, place + 4)
    return bytes(changed if changed != data else data[: len(data) - len(data) * rng.randrange(10, 60) // 100])


def slip_packets(data: bytes, rng: random.Random) -> bytes:
    """Packets are lost, doubled, cut, filled with noise, or of another time; the container itself is whole."""
    sink = io.BytesIO()
    try:
        with av.open(io.BytesIO(data)) as source, av.open(sink, "w", format=_muxer(source.format.name)) as out:
            copies = {s.index: out.add_stream_from_template(s) for s in source.streams if s.type in ("video", "audio")}
            for packet in source.demux():
                if packet.dts is None or packet.stream_index not in copies:
                    continue
                packet.stream = copies[packet.stream_index]
                for slipped in _slipped(packet, rng):
                    out.mux(slipped)
    except (av.error.FFmpegError, ValueError, OverflowError):  # a muxer that refuses what was slipped in
        pass
    return sink.getvalue() or flip_bytes(data, rng)


def _slipped(packet: av.Packet, rng: random.Random) -> list[av.Packet]:
    if rng.random() > 0.15:
        return [packet]
    match rng.randrange(4):
        case 0:
            return []
        case 1:
            return [packet, packet]
        case 2:
            damaged = av.Packet(flip_bytes(bytes(packet), rng) if packet.size else b"")
        case _:
            damaged = av.Packet(bytes(packet)[: packet.size // 2])
    damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
    damaged.stream, damaged.is_keyframe = packet.stream, packet.is_keyframe
    if rng.random() < 0.3:
        damaged.pts = damaged.dts = (packet.dts or 0) + rng.choice((1, 1000, 1_000_000_000))
    return [damaged]


def _muxer(demuxer: str) -> str:
    names = demuxer.split(",")
    return "mp4" if "mp4" in names else names[0]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": flip_bytes,
    "truncation": cut,
    "header": lie_in_header,
    "boxes": move_boxes,
    "packets": slip_packets,
    "promise": promise_more_frames,
}
