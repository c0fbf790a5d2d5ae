"""The plan of a file, from its headers, its first frame and its last packets: one clock for what is seen and heard.

Time zero is what a player shows at 0: the first frame or the first sound of the chosen streams, whichever comes first.
"""

import math
import os
from dataclasses import dataclass

import av
import av.error
from av.audio import AudioStream
from av.container import InputContainer
from av.stream import Stream

from mmcsal.contracts.reject import Reason
from mmcsal.media.picture import MP4, Picture
from mmcsal.media.probe import MediaError, MediaFacts, open_media
from mmcsal.media.spec import MediaSpec
from mmcsal.media.streams import choose_audio

# A file that holds less than this share of what its header promises is damaged, not merely short.
MIN_INTACT_FRACTION = 0.9
# Containers that say of each stream how long it is; of the others, the last packets tell.
WITH_DURATIONS = {MP4, "avi", "mpegts", "mpeg"}
# How much of the end is read to find the last packets; the next one where the picture ends before that.
TAILS_S = (5.0, 30.0, 300.0)
# Frames that stay this long, on the average, are slides.
SLIDE_S = 2.0
# A single frame of these is a cover picture.
IMAGE_CODECS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff"}


@dataclass(frozen=True)
class Plan:
    """Where on a player's clock a file has a picture, and where its sound lies. Seconds."""

    zero_s: float  # of the player, on the clock of the container that holds the picture
    begin_s: float  # of the picture, on the player's clock
    end_s: float
    audio_path: str
    audio_index: int  # of the stream in its container
    audio_zero_s: float  # as `zero_s`, of the container that holds the sound
    facts: MediaFacts


def make_plan(picture: Picture, audio_path: str | None, spec: MediaSpec) -> Plan:
    """The plan of a file with picture and sound, or of two files with one of them each.

    Raises:
        MediaError: no sound, or the file is cut off.
    """
    if audio_path is None:
        audio = choose_audio(picture.container, spec.audio_stream)
        audio_facts = _sound_facts(audio)
        zero_s = min(picture.first.time_s, audio_facts.start_s)
        audio_zero_s = zero_s
    else:
        with open_media(audio_path) as container:
            audio_facts = _sound_facts(choose_audio(container, spec.audio_stream))
        zero_s, audio_zero_s = picture.first.time_s, audio_facts.start_s
    end_s = _end_s(picture, audio_facts.end_s if audio_path is None else None)
    return Plan(
        zero_s=zero_s,
        begin_s=picture.first.time_s - zero_s,
        end_s=end_s - zero_s,
        audio_path=audio_path or picture.path,
        audio_index=audio_facts.index,
        audio_zero_s=audio_zero_s,
        facts=MediaFacts(
            container=picture.format,
            video_codec=picture.stream.codec_context.name,
            audio_codec=audio_facts.codec,
            width_px=picture.stream.width,
            height_px=picture.stream.height,
            frame_rate_hz=float(picture.stream.average_rate or 0),
            num_frames=picture.stream.frames,
            video_duration_s=end_s - picture.first.time_s,
            sample_rate_hz=audio_facts.sample_rate_hz,
        ),
    )


@dataclass(frozen=True)
class _SoundFacts:
    index: int
    codec: str
    sample_rate_hz: int
    start_s: float
    end_s: float | None


def _sound_facts(audio: AudioStream) -> _SoundFacts:
    start_s = _seconds(audio.start_time, audio) or 0.0
    duration_s = _seconds(audio.duration, audio)
    end_s = None if duration_s is None else start_s + duration_s
    return _SoundFacts(audio.index, audio.codec_context.name, audio.codec_context.sample_rate, start_s, end_s)


def _end_s(picture: Picture, sound_end_s: float | None) -> float:
    """When the picture ends, on the container's clock."""
    stream = picture.stream
    start_s, duration_s = _seconds(stream.start_time, stream), _seconds(stream.duration, stream)
    if picture.format in WITH_DURATIONS and duration_s and start_s is not None:
        end_s = start_s + duration_s
        _check_promise(picture, duration_s)
        num_frames, shown_s = stream.frames, duration_s
    else:
        end_s, shown_s, num_frames, sound_end_s = _read_end(picture)
    is_cover = num_frames == 1 and stream.codec_context.name in IMAGE_CODECS
    if 1 <= num_frames <= max(1.0, shown_s / SLIDE_S) and not is_cover and sound_end_s is not None:
        return max(end_s, sound_end_s)  # a still, or the last of some slides, stays for as long as there is sound
    return end_s


def _check_promise(picture: Picture, duration_s: float) -> None:
    """Raises:
    MediaError: the file ends long before what its header promises.
    """
    stream = picture.stream
    promised_s = stream.frames / float(stream.average_rate) if stream.average_rate else 0.0
    if picture.format == "avi" and duration_s < MIN_INTACT_FRACTION * promised_s:
        raise _cut_off(duration_s, promised_s)
    index = stream.index_entries
    num_bytes = os.stat(picture.path).st_size
    if len(index) and index[len(index) - 1].pos >= num_bytes and picture.format.startswith("mov"):
        num_there = _num_before(index, num_bytes)
        if num_there < MIN_INTACT_FRACTION * len(index):
            raise _cut_off(duration_s * num_there / len(index), duration_s)


def _num_before(index, num_bytes: int) -> int:
    """How many entries of an index lie before the end of the file; they ascend."""
    low, high = 0, len(index)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if index[middle].pos < num_bytes else (low, middle)
    return low


def _read_end(picture: Picture) -> tuple[float, float, int, float]:
    """When the picture ends, for how long and how many frames were seen (all, where it is short), when everything ends.

    Raises:
        MediaError: the file ends long before what its header promises.
    """
    origin_s = (picture.container.start_time or 0) / av.time_base
    promised_s = (picture.container.duration or 0) / av.time_base
    for tail_s in (*TAILS_S, None):
        with open_media(picture.path) as container:
            if tail_s is not None and tail_s < promised_s:
                container.seek(round((origin_s + promised_s - tail_s) * av.time_base))
            elif tail_s is not None and not promised_s:
                continue  # nobody knows where the tail is
            ends_s, begin_s, num_frames = _last_packets(container, picture.stream.index)
            if picture.stream.index in ends_s:
                break
    last_s = max(ends_s.values(), default=0.0)
    found_s = last_s - min(origin_s, 0.0)  # some containers count the length from their zero, some from their beginning
    if found_s < MIN_INTACT_FRACTION * promised_s:
        raise _cut_off(found_s, promised_s)
    end_s = ends_s.get(picture.stream.index, last_s)
    return end_s, end_s - begin_s, num_frames, last_s


def _last_packets(container: InputContainer, video_index: int) -> tuple[dict[int, float], float, int]:
    """By stream, when the last of the packets from here on ends; when the first of the picture begins; their number."""
    ends_s: dict[int, float] = {}
    begin_s, num_frames = math.inf, 0
    try:
        for packet in container.demux():
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None and packet.size:
                end_s = float((time + (packet.duration or 0)) * packet.time_base)
                ends_s[packet.stream_index] = max(end_s, ends_s.get(packet.stream_index, end_s))
                if packet.stream_index == video_index:
                    begin_s, num_frames = min(begin_s, float(time * packet.time_base)), num_frames + 1
    except av.error.FFmpegError:
        pass  # what ends in the middle of a packet has ended
    return ends_s, begin_s, num_frames


def _cut_off(found_s: float, promised_s: float) -> MediaError:
    return MediaError(Reason.DECODE_ERROR, f"cut off: {max(found_s, 0):.2f} of {promised_s:.2f} s are there")


def _seconds(time: int | None, stream: Stream) -> float | None:
    return None if time is None or stream.time_base is None else float(time * stream.time_base)
