"""The sound of a window, cut by the same clock as the picture: what is heard at an instant stays at that instant."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from typing import cast

import av
import av.error
import numpy as np
from av.audio import AudioStream
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet

from mmcsal.media.avi import delays_of
from mmcsal.media.limits import check_damage
from mmcsal.media.probe import open_media

# Clocks of containers are this coarse; what is further from its place than that is put where it belongs.
MAX_DRIFT_S = 0.03
# How long before the window to look for sound, where a seek lands after the window's beginning.
SEEK_MARGINS_S = (0.0, 1.0, 4.0, 16.0)
# A mix of channels more quiet than this, of one that is so many times louder, has cancelled itself out.
QUIET = 100
MIN_CANCELLED_RATIO = 10


@dataclass(frozen=True)
class SoundWindow:
    """Which sound is wanted, on the clock of its container."""

    path: str
    stream_index: int
    zero_s: float
    start_s: float
    duration_s: float
    sample_rate_hz: int

    @property
    def num_samples(self) -> int:
        return round(self.duration_s * self.sample_rate_hz)


def cut_sound(window: SoundWindow, container: InputContainer | None = None) -> tuple[np.ndarray, float]:
    """The sound of a window, int16 [L], silence where there is none; and how many seconds of it are no silence put in.

    All channels are mixed; where they cancel each other out (one is the other's negative), the loudest is taken, since
    a viewer hears it.

    Args:
        container: of the file, if it is open already; used where the window does not begin at zero, since to read the
            index of a long film once more costs as much as to decode a part of it.

    Raises:
        MediaError: too many packets are damaged.
    """
    mixed_CL, heard_s = _cut(window, "mono", container)
    if heard_s and _loudness(mixed_CL)[0] < QUIET:
        channels_CL, _ = _cut(window, None, container)
        loudness_C = _loudness(channels_CL)
        if loudness_C.max() > MIN_CANCELLED_RATIO * max(_loudness(mixed_CL)[0], 1):
            return channels_CL[loudness_C.argmax()], heard_s
    return mixed_CL[0], heard_s


def _loudness(sound_CL: np.ndarray) -> np.ndarray:
    return np.sqrt((sound_CL.astype(np.float64) ** 2).mean(axis=1))


def _cut(window: SoundWindow, layout: str | None, container: InputContainer | None) -> tuple[np.ndarray, float]:
    """The window [C, L], and the seconds of it that came out of the decoder."""
    sound_CL = np.zeros((1, window.num_samples), dtype=np.int16)
    is_heard_L = np.zeros(window.num_samples, dtype=bool)
    is_open = container is not None and window.start_s > window.zero_s  # it seeks, and need not stand at the beginning
    with nullcontext(container) if container is not None and is_open else open_media(window.path) as media:
        decoder = _Decoder(media, window)
        for position, chunk_CL in _placed(decoder.frames_at(window), window, layout):
            if len(chunk_CL) > len(sound_CL):
                more_CL = np.zeros((len(chunk_CL) - len(sound_CL), window.num_samples), np.int16)
                sound_CL = np.vstack([sound_CL, more_CL])
            begin, end = max(position, 0), min(position + chunk_CL.shape[1], window.num_samples)
            if begin < end:
                sound_CL[: len(chunk_CL), begin:end] = chunk_CL[:, begin - position : end - position]
                is_heard_L[begin:end] = True
            if position + chunk_CL.shape[1] >= window.num_samples:
                break
        decoder.check_damage()
    return sound_CL, float(is_heard_L.sum()) / window.sample_rate_hz


def _placed(frames: Iterator[AudioFrame], window: SoundWindow, layout: str | None) -> Iterator[tuple[int, np.ndarray]]:
    """Resampled chunks [C, L] and where in the window each begins, in samples.

    Frames follow each other without a seam for as long as they stand where their clock says; after a hole, a jump
    back, or a change of the format, a new resampler begins at the new place.
    """
    resampler: av.AudioResampler | None = None
    shape = None
    position, clock_s = 0, 0.0
    for frame in frames:
        time_s = clock_s if frame.time is None else frame.time
        is_there = abs(time_s - clock_s) <= MAX_DRIFT_S and shape == _shape(frame)
        if resampler is None or not is_there:
            for chunk_CL in _flush(resampler):
                yield position, chunk_CL
            position, clock_s, shape = round((time_s - window.start_s) * window.sample_rate_hz), time_s, _shape(frame)
            resampler = av.AudioResampler(format="s16p", layout=layout or frame.layout, rate=window.sample_rate_hz)
        for resampled in resampler.resample(frame):
            chunk_CL = resampled.to_ndarray()
            yield position, chunk_CL
            position += chunk_CL.shape[1]
        clock_s += frame.samples / frame.sample_rate
    for chunk_CL in _flush(resampler):
        yield position, chunk_CL


def _flush(resampler: av.AudioResampler | None) -> Iterator[np.ndarray]:
    """What a resampler still holds, one chunk."""
    if resampler is not None:
        rest = [resampled.to_ndarray() for resampled in resampler.resample(None)]
        if rest:
            yield np.concatenate(rest, axis=1)


def _shape(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _Decoder:
    """Frames of one stream, damaged packets left out and counted."""

    def __init__(self, container: InputContainer, window: SoundWindow) -> None:
        self._container = container
        self._stream = cast(AudioStream, container.streams[window.stream_index])
        self._stream.codec_context.thread_count = 1
        self._delays = delays_of(window.path, self._stream) if container.format.name == "avi" else None
        self._num_packets = self._num_damaged = 0

    def frames_at(self, window: SoundWindow) -> Iterator[AudioFrame]:
        """The frames from one that sounds at the beginning of the window; or from the first."""
        if window.start_s > window.zero_s:
            for margin_s in SEEK_MARGINS_S:
                # Of the default stream, the picture: a key frame before the window, with the sound around it.
                frames = self._frames_from(window.start_s - margin_s)
                first = next(frames, None)
                if first is not None and (first.time is None or first.time <= window.start_s + MAX_DRIFT_S):
                    return chain([first], frames)
                if window.start_s - margin_s <= window.zero_s:
                    return iter(()) if first is None else chain([first], frames)
            return self._frames_from(window.zero_s)
        return self._frames()

    def _frames_from(self, time_s: float) -> Iterator[AudioFrame]:
        with suppress(av.error.FFmpegError):  # not every container can seek; then it is read from where it stands
            self._container.seek(round(time_s * av.time_base))
        return self._frames()

    def _frames(self) -> Iterator[AudioFrame]:
        self._num_packets = self._num_damaged = 0
        with suppress(av.error.FFmpegError):  # a file that ends in the middle of a packet has ended
            for packet in self._container.demux(self._stream):
                self._num_packets += bool(packet.size)
                yield from self._decode(packet)

    def _decode(self, packet: Packet) -> list[AudioFrame]:
        try:
            frames = cast(list[AudioFrame], packet.decode())
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._num_damaged += 1
            return []
        return frames if self._delays is None else [self._delays.put(frame) for frame in frames]

    def check_damage(self) -> None:
        """As `limits.check_damage`, of the packets read so far."""
        check_damage("audio", self._num_damaged, self._num_packets)
