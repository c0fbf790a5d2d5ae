"""The picture of a file, read in order by PyAV: which frame is on screen from when on. Other backends have to match it.

Times are those of the container's own clock, in seconds; `plan` says where on it a player's zero lies.
"""

from collections.abc import Iterator
from itertools import chain
from types import TracebackType
from typing import NamedTuple

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from mmcsal.contracts.reject import Reason
from mmcsal.media.clock import Clock
from mmcsal.media.display import display_of
from mmcsal.media.limits import check_container, check_stream
from mmcsal.media.probe import MediaError, open_media
from mmcsal.media.spec import MediaSpec
from mmcsal.media.streams import choose_video

MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
# Nearer than this to the beginning, reading from there costs no more than to look for a key frame.
NEAR_S = 1.0
# How long before the wanted frame to look for a key frame; the next one where the frames from there begin too late,
# as they do with open groups of pictures, intra-refresh, and containers whose seeks are guesses.
SEEK_MARGINS_S = (0.0, 1.0, 4.0, 16.0, 64.0)


class Shown(NamedTuple):
    """A frame and the time from which on it is on screen."""

    time_s: float
    frame: VideoFrame


class Picture:
    """The video stream of an open file; use as a context manager or call `close()`.

    Raises:
        MediaError: no video, more than the limits allow, or nothing that can be decoded.
    """

    def __init__(self, path: str, spec: MediaSpec) -> None:
        self.path = path
        self.container = open_media(path)
        try:
            check_container(self.container, spec)
            self.stream = choose_video(self.container, spec.video_stream)
            check_stream(self.stream, spec)
            self._max_pixels = spec.max_pixels
            self.format = self.container.format.name
            self.num_packets = self.num_damaged = 0
            self._in_order: Iterator[Shown] | None = self._decode(None)
            self.first = self._first()
        except BaseException:
            self.close()
            raise
        self.display = display_of(self.first.frame, float(self.stream.sample_aspect_ratio or 1))

    def frames_at(self, time_s: float, *, keys_only: bool = False) -> Iterator[Shown]:
        """The frames in the order of showing, from one that is on screen at `time_s`, or from the first of all.

        Args:
            keys_only: key frames alone, as if there were no others.
        """
        if self._in_order is not None and time_s <= self.first.time_s + NEAR_S and not keys_only:
            frames, self._in_order = self._in_order, None  # the reader stands behind the first frame already
            return chain([self.first], frames)
        self._in_order = None
        if time_s > self.first.time_s + NEAR_S:
            for margin_s in SEEK_MARGINS_S:
                frames = self._frames_from(time_s - margin_s, keys_only)
                shown = next(frames, None)
                if shown is not None and shown.time_s <= time_s:
                    return chain([shown], frames)
                if time_s - margin_s <= self.first.time_s:
                    break
        return self._from_the_beginning(keys_only)

    def _frames_from(self, time_s: float, keys_only: bool) -> Iterator[Shown]:
        assert self.stream.time_base is not None
        try:
            self.container.seek(int(max(time_s, self.first.time_s) / self.stream.time_base), stream=self.stream)
        except av.error.FFmpegError:
            return iter(())
        self.num_packets = self.num_damaged = 0
        return self._decode(time_s, keys_only)

    def _from_the_beginning(self, keys_only: bool) -> Iterator[Shown]:
        """Opened anew: a seek to the beginning is not the same in every container."""
        index = self.stream.index  # a stream of a closed container does not know it any more
        self.container.close()
        self.container = open_media(self.path)
        self.stream = next(s for s in self.container.streams.video if s.index == index)
        self.num_packets = self.num_damaged = 0
        return self._decode(None, keys_only)

    def _decode(self, sought_s: float | None, keys_only: bool = False) -> Iterator[Shown]:
        """What comes out of the decoder from here on; after a seek, from the first key frame on."""
        if not self.stream.codec_context.is_open:
            self.stream.codec_context.thread_count = 1  # a core a worker
            self.stream.codec_context.options = {"max_pixels": str(self._max_pixels)}
        clock = Clock(self.format, self.stream)
        from_s: float | None = None
        for packet in self._packets():
            if packet.size and from_s is None:
                if sought_s is not None and not packet.is_keyframe:
                    continue
                from_s = clock.of_packet(packet) if sought_s is not None else float("-inf")
            if packet.size and keys_only and not packet.is_keyframe:
                continue
            for shown in self._decode_packet(packet, clock):
                if from_s is not None and shown.time_s >= from_s:  # those before it lean on what was not read
                    yield shown

    def _decode_packet(self, packet: Packet, clock: Clock) -> Iterator[Shown]:
        self.num_packets += bool(packet.size)
        clock.put(packet)
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self.num_damaged += bool(packet.size)
            clock.take_back(packet)
            return
        for frame in frames:
            yield Shown(clock.of_frame(frame), frame)

    def _packets(self) -> Iterator[Packet]:
        try:
            yield from self.container.demux(self.stream)
        except av.error.FFmpegError:  # a file that ends in the middle of a packet has ended
            return

    def _first(self) -> Shown:
        assert self._in_order is not None
        first = next(self._in_order, None)
        if first is not None:
            return first
        raise MediaError(Reason.DECODE_ERROR, _why_nothing(self))

    def close(self) -> None:
        self.container.close()

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _why_nothing(picture: Picture) -> str:
    if not picture.num_packets:
        return "video: the stream is empty"
    return f"video: none of {picture.num_packets} packets can be decoded"
