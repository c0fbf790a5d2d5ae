"""What a media file holds, from its headers alone; and the error that turns into a reject."""

import os
import stat
from dataclasses import dataclass

import av
import av.error
from av.audio import AudioStream
from av.container import InputContainer
from av.video import VideoStream

from mmcsal.contracts.reject import Reason


class MediaError(Exception):
    """A sample cannot be read. `reason` is of the closed set, `detail` is for the reader."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class MediaFacts:
    """What the headers promise; 0 where a container does not say."""

    container: str  # ffmpeg's short name of the format, such as "mpegts"
    width_px: int
    height_px: int
    frame_rate_hz: float
    num_frames: int
    video_duration_s: float
    sample_rate_hz: int
    audio_duration_s: float


def probe(video_path: str, audio_path: str | None = None) -> MediaFacts:
    """Reads the headers of a file with picture and sound, or of two files with one of them each.

    Raises:
        MediaError: missing, empty, not a media file, or without a video or an audio stream.
    """
    with open_media(video_path) as container:
        # A cover picture of a sound file is a video stream to the demuxer, but no video.
        videos = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos:
            raise MediaError(Reason.NO_VIDEO, f"no video stream among {_streams(container)}")
        video = videos[0]
        if audio_path is None:
            sample_rate_hz, audio_duration_s = _probe_audio(container)
        else:
            with open_media(audio_path) as sound:
                sample_rate_hz, audio_duration_s = _probe_audio(sound)
        return MediaFacts(
            container=container.format.name,
            width_px=video.width,
            height_px=video.height,
            frame_rate_hz=float(video.average_rate or 0),
            num_frames=video.frames,
            video_duration_s=_duration_s(video, container),
            sample_rate_hz=sample_rate_hz,
            audio_duration_s=audio_duration_s,
        )


def open_media(path: str) -> InputContainer:
    """Opens a local media file.

    Raises:
        MediaError: missing, empty, or in no format that the decoder knows.
    """
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise MediaError(Reason.MISSING_FILE, f"{path}: not a regular file")
        if facts.st_size == 0:
            raise MediaError(Reason.EMPTY_FILE, "the file has zero bytes")
        return av.open(path)
    except (FileNotFoundError, PermissionError) as error:
        raise MediaError(Reason.MISSING_FILE, f"{path}: {error.strerror}") from error
    except av.error.FFmpegError as error:
        raise MediaError(Reason.NOT_MEDIA, f"not a media file: {error.strerror}") from error


def _probe_audio(container: InputContainer) -> tuple[int, float]:
    """Sample rate in Hz and duration in seconds."""
    if not container.streams.audio:
        raise MediaError(Reason.NO_AUDIO, f"no audio stream among {_streams(container)}")
    audio = container.streams.audio[0]
    return audio.rate, _duration_s(audio, container)


def _duration_s(stream: VideoStream | AudioStream, container: InputContainer) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def _streams(container: InputContainer) -> list[str]:
    return [s.type for s in container.streams]
