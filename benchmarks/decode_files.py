"""Files that tell which frame is which, of what costs a decoder most: long groups, other codecs, 4K, two hours."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

FOLDER = Path("runs/benchmark-decode")
NUM_BITS = 16
SAMPLE_RATE_HZ = 44_100


class Shape(NamedTuple):
    """How a file is coded; `num_copies` of it stand one behind the other, as packets."""

    codec: str
    width_px: int
    height_px: int
    frame_rate_hz: int
    duration_s: int
    group: int  # frames from key frame to key frame
    suffix: str = "mp4"
    audio: str = "aac"
    num_copies: int = 1


SHAPES = {
    "2 s": Shape("libx264", 1280, 720, 25, 2, 50),
    "long groups": Shape("libx264", 1920, 1080, 25, 30, 250),
    "short groups": Shape("libx264", 1280, 720, 25, 30, 12),
    "hevc": Shape("libx265", 1280, 720, 25, 20, 100),
    "vp9": Shape("libvpx-vp9", 1280, 720, 25, 20, 100, "webm", "libopus"),
    "4k": Shape("libx264", 3840, 2160, 24, 8, 48),
    "1 min": Shape("libx264", 1280, 720, 25, 60, 50),
    "2 h": Shape("libx264", 1280, 720, 25, 60, 50, num_copies=120),
}
OPTIONS = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def file_of(name: str) -> Path:
    """The file of a shape, encoded where it is not there yet."""
    shape = SHAPES[name]
    path = FOLDER / f"{name.replace(' ', '-')}.{shape.suffix}"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        _encode(shape, partial)
        if shape.num_copies > 1:
            once = partial.rename(partial.with_name(f"once-{path.name}"))
            _repeat(once, partial, shape.num_copies)
            once.unlink()
        partial.rename(path)
    return path.absolute()


def number_of(frame_HWC: np.ndarray) -> int:
    """The number that a decoded frame shows: bars in the middle, one a bit, the lowest on top."""
    height, width = frame_HWC.shape[:2]
    bar_px, column = height / NUM_BITS, slice(width // 2 - 2, width // 2 + 2)
    middles = [round((bit + 0.5) * bar_px) for bit in range(NUM_BITS)]
    return sum(int(frame_HWC[row, column].mean() > 127) << bit for bit, row in enumerate(middles))


def number_at(shape: Shape, time_s: float) -> int:
    """The number of the frame that is on screen at a time."""
    num_frames = shape.duration_s * shape.frame_rate_hz
    return min(int(time_s * shape.frame_rate_hz + 1e-6), num_frames * shape.num_copies - 1) % num_frames


def _encode(shape: Shape, path: Path) -> None:
    texture_HW = np.random.default_rng(0).integers(
        40, 216, (shape.height_px // 8 + 1, shape.width_px // 8 + 1), np.uint8
    )
    texture_HW = np.kron(texture_HW, np.ones((8, 8), np.uint8))[: shape.height_px, : shape.width_px]
    with av.open(str(path), "w") as out:
        group = {"g": str(shape.group), "keyint_min": str(shape.group), "sc_threshold": "0"}
        group |= {"bf": "0"} if shape.num_copies > 1 else {}  # so that no time of a copy lies in the one before
        picture = out.add_stream(shape.codec, rate=shape.frame_rate_hz, options={**OPTIONS[shape.codec], **group})
        picture.width, picture.height, picture.pix_fmt = shape.width_px, shape.height_px, "yuv420p"
        sound = out.add_stream(shape.audio, rate=48_000 if shape.audio == "libopus" else SAMPLE_RATE_HZ, layout="mono")
        for number in range(shape.duration_s * shape.frame_rate_hz):
            frame = av.VideoFrame.from_ndarray(_picture(texture_HW, number), "gray8")
            frame.pts = number
            out.mux(picture.encode(frame))
            _mux_second(out, sound, number, shape)
        out.mux(picture.encode(None))
        out.mux(sound.encode(None))


def _picture(texture_HW: np.ndarray, number: int) -> np.ndarray:
    """A texture that moves, with the bars over it."""
    image_HW = np.roll(texture_HW, (number, 2 * number), (0, 1))
    height, width = image_HW.shape
    edges = np.linspace(0, height, NUM_BITS + 1).round().astype(int)
    for bit in range(NUM_BITS):
        image_HW[edges[bit] : edges[bit + 1], width // 2 - width // 16 : width // 2 + width // 16] = 235 * (
            number >> bit & 1
        )
    return image_HW


def _mux_second(out, sound, number: int, shape: Shape) -> None:
    """A second of a tone, with the first frame of each second."""
    if number % shape.frame_rate_hz:
        return
    time_L = np.arange(sound.rate) / sound.rate
    frame = av.AudioFrame.from_ndarray(np.int16(8000 * np.sin(2 * np.pi * 440 * time_L))[None], "s16", "mono")
    frame.sample_rate, frame.pts = sound.rate, number // shape.frame_rate_hz * sound.rate
    out.mux(sound.encode(frame))


def _repeat(once: Path, path: Path, num_copies: int) -> None:
    """The packets of a file again and again, as a recorder would have gone on."""
    with av.open(str(path), "w") as out:
        copies: dict[int, av.stream.Stream] = {}
        for copy in range(num_copies):
            with av.open(str(once)) as source:
                duration_s = (source.duration or 0) / av.time_base
                for stream in source.streams:
                    if stream.index not in copies:
                        copies[stream.index] = out.add_stream_from_template(stream)
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    if not 0 <= packet.dts * packet.time_base < round(duration_s):  # what primes and pads the sound
                        continue
                    shift = round(copy * round(duration_s) / packet.time_base)
                    packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                    packet.stream = copies[packet.stream_index]
                    out.mux(packet)
