"""When a decoded frame is shown, on its container's clock."""

import heapq
from typing import NamedTuple

from av.packet import Packet
from av.video import VideoStream
from av.video.frame import VideoFrame

# Containers that time packets in the order of decoding, and not frames in that of showing.
TIMED_BY_DECODING = {"avi", "asf"}
# As many empty slots an encoder writes after its first frame for those that it holds back.
MAX_ENCODER_LAG = 4


class _AviStart(NamedTuple):
    """Where the first frame belongs, and by how many slots the others are late."""

    first: int
    lag: int


class Clock:
    """Tells the time of packets and frames that pass through one decoder.

    Frames carry their time, but where a container times packets in the order of decoding: there the n-th frame that
    comes out is shown at the n-th time.
    """

    def __init__(self, container_format: str, stream: VideoStream) -> None:
        assert stream.time_base is not None
        self._time_base = float(stream.time_base)
        self._is_by_decoding = container_format in TIMED_BY_DECODING
        self._start = _avi_start(stream) if container_format == "avi" else None
        self._slots: list[int] = []
        self._last_s = 0.0

    def of_packet(self, packet: Packet) -> float:
        """When the frame of a packet is shown, in seconds; minus infinity where nothing says."""
        time = packet.dts if self._is_by_decoding or packet.pts is None else packet.pts
        return float("-inf") if time is None else self._slot(time) * self._time_base

    def put(self, packet: Packet) -> None:
        """A packet goes into the decoder."""
        if self._is_by_decoding and packet.size and packet.dts is not None:
            heapq.heappush(self._slots, self._slot(packet.dts))

    def take_back(self, packet: Packet) -> None:
        """No frame will come of this packet."""
        if self._is_by_decoding and packet.dts is not None and self._slot(packet.dts) in self._slots:
            self._slots.remove(self._slot(packet.dts))
            heapq.heapify(self._slots)

    def of_frame(self, frame: VideoFrame) -> float:
        """When the next frame that comes out of the decoder is shown, in seconds."""
        if self._is_by_decoding and self._slots:
            self._last_s = heapq.heappop(self._slots) * self._time_base
        elif frame.pts is not None:
            self._last_s = float(frame.time)
        return self._last_s

    def _slot(self, time: int) -> int:
        if self._start is None:
            return time
        return self._start.first if time <= self._start.first else time - self._start.lag


def _avi_start(stream: VideoStream) -> _AviStart | None:
    """What the empty slots after the first frame of an AVI file say, which has no other way to say it.

    A few, where there are B-frames, are those for which the encoder waited: all frames but the first come that much too
    late. Else the picture begins late, and its first frame belongs right before the second.
    """
    slots = [entry.timestamp for entry in stream.index_entries[:3]]
    if len(slots) < 3 or slots[1] - slots[0] <= slots[2] - slots[1]:
        return None
    step = slots[2] - slots[1]
    num_empty = slots[1] - slots[0] - step
    if stream.codec_context.has_b_frames and num_empty <= MAX_ENCODER_LAG:
        return _AviStart(slots[0], num_empty)
    return _AviStart(slots[1] - step, 0)
