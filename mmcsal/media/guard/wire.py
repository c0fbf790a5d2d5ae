"""What passes between a worker and its decoder child: a header of JSON, then the bytes of the tensors it announces.

Neither side loads what could run code, and the worker takes nothing on trust: it knows how long a clip is, and
refuses an answer that is anything else.
"""

import json
import math
import os
import re
import socket
import struct
import time
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from mmcsal.contracts.reject import Reason
from mmcsal.media.decode import Clip, Source
from mmcsal.media.probe import MediaError, MediaFacts
from mmcsal.media.spec import MediaSpec

MAX_HEADER_BYTES = 1 << 20
MAX_DETAIL_CHARS = 2000
MAX_DESCRIPTORS = 2  # picture and sound
_LENGTH = struct.Struct("<I")
_INT_LIMIT = 2**31  # of the columns that facts end in
Result = Clip | MediaError


class WireError(Exception):
    """The other side said what it may not."""


class Channel:
    """One end of the socket between worker and child; `timeout_s` is for a whole message, not for each of its bytes."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, header: dict[str, Any], *tensors: np.ndarray, descriptors: tuple[int, ...] = ()) -> None:
        text = json.dumps(header).encode()
        socket.send_fds(self._end, [_LENGTH.pack(len(text))], descriptors)
        self._end.sendall(text)
        for tensor in tensors:
            self._end.sendall(tensor.data.cast("B"))

    def receive(self, timeout_s: float | None = None) -> tuple[dict[str, Any], list[int]]:
        """A header, and the descriptors that came with it.

        Raises:
            EOFError, OSError: the other side is gone; TimeoutError: it says nothing.
            WireError: what it says is no header.
        """
        deadline_s = _deadline_s(timeout_s)
        self._wait_until(deadline_s)
        prefix, descriptors, _, _ = socket.recv_fds(self._end, _LENGTH.size, MAX_DESCRIPTORS)
        prefix = bytearray(prefix.ljust(_LENGTH.size, b"\0")) if prefix else _raise_gone()
        (num_bytes,) = _LENGTH.unpack(prefix)
        if num_bytes > MAX_HEADER_BYTES:
            raise WireError(f"a header of {num_bytes} bytes")
        text = bytearray(num_bytes)
        self._fill(memoryview(text), deadline_s)
        return _parsed(bytes(text)), descriptors

    def receive_into(self, tensor: np.ndarray, timeout_s: float | None = None) -> np.ndarray:
        """Fills `tensor` with the bytes that come next, and returns it."""
        self._fill(tensor.data.cast("B"), _deadline_s(timeout_s))
        return tensor

    def close(self) -> None:
        self._end.close()

    def _fill(self, view: memoryview, deadline_s: float) -> None:
        while len(view):
            self._wait_until(deadline_s)
            view = view[self._end.recv_into(view) or _raise_gone() :]

    def _wait_until(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._end.settimeout(None if math.isinf(left_s) else left_s)


def request_of(source: Source) -> tuple[dict[str, Any], tuple[int, ...]]:
    """A source as a header, and the descriptors it takes.

    A path that names a descriptor of this process is handed over with it: the child sees no other process's files.
    """
    descriptors = tuple(fd for uri in (source.uri, source.audio_uri) if (fd := _own_descriptor(uri)) is not None)
    return asdict(source), descriptors


def source_of(header: dict[str, Any], descriptors: list[int]) -> tuple[Source, dict[str, str]]:
    """The source as this process may open it, and what its own names of files are to the other side."""
    source, left, written = Source(**header), list(descriptors), {}
    paths = {}
    for name in ("uri", "audio_uri"):
        uri = getattr(source, name)
        if left and uri is not None and re.fullmatch(r"/proc/\d+/fd/\d+", uri):
            paths[name] = f"/proc/self/fd/{left.pop(0)}"
            written[paths[name]] = uri
    return Source(**{**header, **paths}), written


def answer_of(result: Result, seconds: float) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
    """What a child says of a source that it worked on for so long."""
    if isinstance(result, MediaError):
        return {"reason": str(result.reason), "detail": result.detail[:MAX_DETAIL_CHARS], "seconds": seconds}, ()
    header = {"facts": asdict(result.facts), "duration_s": result.duration_s, "seconds": seconds}
    return header, (np.ascontiguousarray(result.video_THWC), np.ascontiguousarray(result.audio_L))


def receive_result(channel: Channel, spec: MediaSpec, timeout_s: float) -> tuple[Result, float]:
    """A child's answer, and the seconds that it says it took.

    Raises:
        EOFError, OSError, TimeoutError: see `Channel.receive`.
        WireError: it is neither a clip of this spec nor an error with a known reason.
    """
    deadline_s = _deadline_s(timeout_s)
    header, descriptors = channel.receive(timeout_s)
    for descriptor in descriptors:
        os.close(descriptor)
    seconds = _number(header, "seconds")
    if "reason" in header:
        return MediaError(_reason(header), _detail(header)), seconds
    duration_s, facts = _number(header, "duration_s"), _facts(header.get("facts"))
    size = spec.frame_size_px
    video_THWC = np.empty((spec.num_frames, size, size, 3), np.uint8)
    audio_L = np.empty(spec.num_audio_samples, np.int16)
    for tensor in (video_THWC, audio_L):
        channel.receive_into(tensor, deadline_s - time.monotonic())
    return Clip(video_THWC, audio_L, duration_s, facts), seconds


def _own_descriptor(uri: str | None) -> int | None:
    match = re.fullmatch(rf"/proc/{os.getpid()}/fd/(\d+)", uri or "")
    return int(match[1]) if match else None


def _deadline_s(timeout_s: float | None) -> float:
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def _raise_gone() -> Any:
    raise EOFError


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"no JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("no header")
    return header


def _number(header: dict[str, Any], key: str) -> float:
    value: Any = header.get(key)
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise WireError(f"{key} is no number of at least 0")
    return float(value)


def _reason(header: dict[str, Any]) -> Reason:
    try:
        return Reason(header["reason"])
    except ValueError as error:
        raise WireError("an unknown reason") from error


def _detail(header: dict[str, Any]) -> str:
    detail = header.get("detail")
    if not isinstance(detail, str) or len(detail) > MAX_DETAIL_CHARS:
        raise WireError("detail is no short text")
    return "".join(c if c.isprintable() else " " for c in detail)


def _facts(given: Any) -> MediaFacts:
    """Facts by their declared types: whole numbers that fit the columns, finite numbers, short texts."""
    names: dict[str, Any] = {field.name: field.type for field in fields(MediaFacts)}
    if not isinstance(given, dict) or given.keys() != names.keys():
        raise WireError("facts are not those of a clip")
    for name, kind in names.items():
        if not _fits(kind, given[name]):
            raise WireError(f"facts: {name} is no {kind}")
    return MediaFacts(**given)


def _fits(kind: Any, value: Any) -> bool:
    if kind is str:
        return isinstance(value, str) and len(value) <= MAX_DETAIL_CHARS
    if kind is int:
        return type(value) is int and abs(value) < _INT_LIMIT
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return kind is bool and type(value) is bool
