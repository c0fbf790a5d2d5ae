"""Decodes one sample into a clip: frames by decord, sound by PyAV.

decord scales in its decoder and hands out only the frames that are asked for. Its audio reader decodes a
whole file into memory whatever part is wanted; PyAV seeks to the window.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.error
import decord
import numpy as np
from av.container import InputContainer

from mmcsal.contracts.reject import Reason
from mmcsal.media.probe import MediaError, MediaFacts, open_media, probe
from mmcsal.media.sample import Window, choose_frames, choose_window, scaled_size, slice_middles_s
from mmcsal.media.spec import MediaSpec

# A stream that holds less than this share of what its header promises is damaged, not merely short.
MIN_INTACT_FRACTION = 0.9
# Transport and program streams: what decord returns for a frame number there can be half a second off.
CONTAINERS_WITHOUT_INDEX = {"mpegts", "mpeg"}
# Even ffmpeg lands up to a group of pictures late there.
SEEK_MARGIN_S = 10.0
# "[13:46:36] /path/video_reader.cc:486: "
DECORD_PREFIX = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+:\d+: ")


@dataclass(frozen=True)
class Source:
    """Where one sample lies."""

    sample_id: str
    uri: str
    audio_uri: str | None = None
    start_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class Clip:
    """A decoded sample: frames uint8 [T, H, W, 3] and sound int16 [L], zero-padded at its end."""

    video_THWC: np.ndarray
    audio_L: np.ndarray
    duration_s: float
    facts: MediaFacts


def decode_clip(source: Source, spec: MediaSpec) -> Clip:
    """Decodes one sample.

    Raises:
        MediaError: with the reason for which the sample is rejected.
    """
    facts = probe(source.uri, source.audio_uri)
    try:
        read = _frames_in_passing if facts.container in CONTAINERS_WITHOUT_INDEX else _frames_by_index
        frames_THWC, window, end_s = read(source, facts, spec)
    except MediaError:
        raise
    except Exception as error:  # decord raises its own and plain errors alike
        raise MediaError(Reason.DECODE_ERROR, f"video: {_one_line(error)}") from error
    audio_L = _decode_audio(source.audio_uri or source.uri, facts, window, spec)
    sample_duration_s = min(source.duration_s or end_s, end_s - (source.start_s or 0.0))
    return Clip(_crop_middle(frames_THWC, spec.frame_size_px), audio_L, sample_duration_s, facts)


def _frames_by_index(source: Source, facts: MediaFacts, spec: MediaSpec) -> tuple[np.ndarray, Window, float]:
    """The frames of the window [T, h, w, 3], the window, and where the video ends in seconds."""
    width, height = scaled_size(facts.width_px, facts.height_px, spec.frame_size_px)
    reader = decord.VideoReader(source.uri, ctx=decord.cpu(0), width=width, height=height, num_threads=1)
    num_frames = len(reader)
    if num_frames == 0 or num_frames < MIN_INTACT_FRACTION * facts.num_frames:
        raise MediaError(Reason.DECODE_ERROR, f"video: {num_frames} of {facts.num_frames} frames are there")
    shown_T2 = reader.get_frame_timestamp(range(num_frames))  # from and until when each frame is on screen
    frame_times_s = shown_T2[:, 0] - shown_T2[0, 0]
    end_s = facts.video_duration_s or float(shown_T2[-1, 1] - shown_T2[0, 0])
    window = _choose_window(source, end_s, spec)
    return reader.get_batch(choose_frames(frame_times_s, window, spec.num_frames)).asnumpy(), window, end_s


def _frames_in_passing(source: Source, facts: MediaFacts, spec: MediaSpec) -> tuple[np.ndarray, Window, float]:
    """As `_frames_by_index`, for containers in which decord seeks to the wrong frame without saying so."""
    width, height = scaled_size(facts.width_px, facts.height_px, spec.frame_size_px)
    window = _choose_window(source, facts.video_duration_s, spec)
    waiting = deque(slice_middles_s(window, spec.num_frames))
    frames: list[np.ndarray] = []
    with open_media(source.uri) as container:
        origin_s = (container.start_time or 0) / av.time_base
        container.seek(round((origin_s + max(0.0, window.start_s - SEEK_MARGIN_S)) * av.time_base))
        shown = None
        for frame in container.decode(video=0):
            while waiting and shown is not None and (frame.time or 0.0) - origin_s > waiting[0]:
                frames.append(shown.reformat(width, height, "rgb24").to_ndarray())
                waiting.popleft()
            shown = frame
            if not waiting:
                break
        if shown is not None:  # the last frame stays on screen to the end
            frames += [shown.reformat(width, height, "rgb24").to_ndarray()] * len(waiting)
    if not frames:
        raise MediaError(Reason.DECODE_ERROR, "video: no frame can be decoded")
    return np.stack(frames), window, facts.video_duration_s


def _choose_window(source: Source, end_s: float, spec: MediaSpec) -> Window:
    window = choose_window(end_s, source.start_s, source.duration_s, spec.window_s)
    _check_duration("video", window.duration_s, spec)
    return window


def _decode_audio(path: str, facts: MediaFacts, window: Window, spec: MediaSpec) -> np.ndarray:
    """The sound of the window, int16 [L], zero-padded."""
    wanted = round(window.duration_s * spec.sample_rate_hz)
    sound = np.zeros(spec.num_audio_samples, dtype=np.int16)
    num_read = 0
    try:
        with open_media(path) as container:
            for chunk in _resampled(container, window.start_s, spec.sample_rate_hz):
                part = chunk[: wanted - num_read]
                sound[num_read : num_read + len(part)] = part
                num_read += len(part)
                if num_read >= wanted:
                    break
    except av.error.FFmpegError as error:
        raise MediaError(Reason.DECODE_ERROR, f"audio: {_one_line(error)}") from error
    promised_s = min(window.duration_s, facts.audio_duration_s - window.start_s)
    if num_read < MIN_INTACT_FRACTION * promised_s * spec.sample_rate_hz:
        read_s = num_read / spec.sample_rate_hz
        raise MediaError(Reason.DECODE_ERROR, f"audio: {read_s:.2f} of {promised_s:.2f} s are there")
    _check_duration("audio", num_read / spec.sample_rate_hz, spec)
    return sound


def _resampled(container: InputContainer, start_s: float, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Mono int16 chunks from `start_s` on; silence where the sound begins later than the picture."""
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="s16", layout="mono", rate=sample_rate_hz)
    # Some containers (MPEG-TS) do not begin at zero.
    start_s += (container.start_time or 0) / av.time_base
    if start_s > 0:
        container.seek(round(start_s * av.time_base))
    num_to_skip: int | None = None  # a seek lands on the packet before
    for frame in container.decode(stream):
        if num_to_skip is None:
            num_to_skip = round((start_s - (start_s if frame.time is None else frame.time)) * sample_rate_hz)
            if num_to_skip < 0:
                yield np.zeros(-num_to_skip, dtype=np.int16)
                num_to_skip = 0
        for resampled in resampler.resample(frame):
            chunk = resampled.to_ndarray()[0]
            yield chunk[num_to_skip:]
            num_to_skip = max(0, num_to_skip - len(chunk))
    for resampled in resampler.resample(None):
        yield resampled.to_ndarray()[0][num_to_skip or 0 :]


def _check_duration(stream: str, duration_s: float, spec: MediaSpec) -> None:
    if duration_s < spec.min_duration_s:
        raise MediaError(
            Reason.TOO_SHORT,
            f"{max(duration_s, 0):.2f} s of {stream}; media.min_duration_s is {spec.min_duration_s:g}",
        )


def _crop_middle(frames_THWC: np.ndarray, size_px: int) -> np.ndarray:
    top, left = ((n - size_px) // 2 for n in frames_THWC.shape[1:3])
    return np.ascontiguousarray(frames_THWC[:, top : top + size_px, left : left + size_px])


def _one_line(error: Exception) -> str:
    """The message of a decoder's error without the time, the source line and the C++ stack around it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DECORD_PREFIX.sub("", lines[0])
