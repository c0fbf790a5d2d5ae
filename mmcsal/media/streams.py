"""Which of the streams of a file a player shows and plays; others are chosen by their number."""

from collections.abc import Sequence
from typing import TypeVar

from av.audio import AudioStream
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video import VideoStream
from av.video.codeccontext import VideoCodecContext

from mmcsal.contracts.reject import Reason
from mmcsal.media.probe import MediaError

AnyStream = TypeVar("AnyStream", bound=Stream)

# A cover picture of a sound file is a video stream to the demuxer, but no video.
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
# What is made for some of the audience, or is nothing on its own.
ASIDE = (
    Disposition.comment
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.dependent
)


def choose_video(container: InputContainer, number: int | None) -> VideoStream:
    """The video stream of that number, else the one that players choose: decodable, the largest, the default.

    Raises:
        MediaError: there is none, none of that number, or none that can be decoded.
    """
    videos = [s for s in container.streams.video if not s.disposition & NO_VIDEO]
    if not videos:
        raise MediaError(Reason.NO_VIDEO, f"no video stream among {_kinds(container)}")
    return _choose(videos, number, "video", Reason.NO_VIDEO)


def choose_audio(container: InputContainer, number: int | None) -> AudioStream:
    """The audio stream of that number, else the one that players choose: decodable, not a commentary, the default.

    Raises:
        MediaError: see `choose_video`.
    """
    audios = list(container.streams.audio)
    if not audios:
        raise MediaError(Reason.NO_AUDIO, f"no audio stream among {_kinds(container)}")
    return _choose(audios, number, "audio", Reason.NO_AUDIO)


def is_decodable(stream: Stream) -> bool:
    """Whether there is a decoder for a stream, and its headers say what the decoder has to know."""
    context = stream.codec_context
    if isinstance(context, VideoCodecContext):
        return bool(context.width and context.height)
    return isinstance(context, AudioCodecContext) and bool(context.sample_rate)


def _choose(streams: Sequence[AnyStream], number: int | None, kind: str, missing: Reason) -> AnyStream:
    if number is not None and number >= len(streams):
        count = f"{len(streams)} {kind} stream{'s'[: len(streams) > 1]}"
        raise MediaError(missing, f"media.{kind}_stream is {number}, but the file has {count} (the first is 0)")
    chosen = max(streams, key=_rank) if number is None else streams[number]
    if not is_decodable(chosen):
        raise MediaError(Reason.DECODE_ERROR, f"{kind}: there is no decoder for the codec of its stream")
    return chosen


def _rank(stream: Stream) -> tuple[bool, bool, int, bool, int]:
    """Of two streams the one with the higher rank is chosen."""
    context = stream.codec_context
    area = context.width * context.height if isinstance(context, VideoCodecContext) else 0
    return (
        is_decodable(stream),
        not stream.disposition & ASIDE,
        area,
        bool(stream.disposition & Disposition.default),
        -stream.index,
    )


def _kinds(container: InputContainer) -> list[str]:
    return [s.type for s in container.streams]
