"""A folder of frames as a picture: images in the order of their numbers, each on screen for as long as the others."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video import VideoStream

from mmcsal.contracts.manifest import FRAME_SUFFIXES
from mmcsal.contracts.reject import Reason
from mmcsal.media.display import Scaler, crop_middle, display_of, scaled_size
from mmcsal.media.limits import check_container, check_stream
from mmcsal.media.plan import Plan
from mmcsal.media.probe import MediaError, MediaFacts, check_file, in_words, open_media
from mmcsal.media.sample import choose_frames
from mmcsal.media.spec import MediaSpec
from mmcsal.media.streams import choose_audio, choose_video


@dataclass(frozen=True)
class FrameFolder:
    """The images of a folder, at least one, in order, and how many a second are shown."""

    paths: tuple[str, ...]
    rate_hz: float

    def read(self, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray:
        """The frame that is on screen at each time, as `backends.read_frames` gives it; uint8 [T, H, W, 3].

        Args:
            times_s_T: ascending, from the first frame on.
            spec: see there.

        Raises:
            MediaError: a frame is damaged, or larger than the limits allow.
        """
        shown_T = choose_frames(np.arange(len(self.paths)) / self.rate_hz, times_s_T)
        frame_of = {i: _seen(self.paths[i], spec) for i in np.unique(shown_T)}
        return np.stack([frame_of[i] for i in shown_T])


def plan_folder(path: str, audio_path: str | None, spec: MediaSpec) -> tuple[FrameFolder, Plan]:
    """The frames of a folder and, with its sound, the plan of both: they begin together.

    Raises:
        MediaError: there are no frames, there is no sound, or nobody knows how long they last.
    """
    paths = _images(path)
    if not paths:
        raise MediaError(Reason.NO_VIDEO, f"the folder holds no {' or '.join(FRAME_SUFFIXES)}")
    if audio_path is None:
        raise MediaError(Reason.NO_AUDIO, "a folder of frames has its sound in a file of its own, and none is named")
    with open_media(audio_path) as container:
        audio = choose_audio(container, spec.audio_stream)
        tick_s = float(audio.time_base or 0)
        zero_s = (audio.start_time or 0) * tick_s
        sound_s = (audio.duration or 0) * tick_s or (container.duration or 0) / av.time_base
        audio_facts = audio.index, audio.codec_context.name, audio.codec_context.sample_rate
    rate_hz = spec.folder_frame_rate_hz or (len(paths) / sound_s if sound_s else 0.0)
    if not rate_hz:
        raise MediaError(Reason.DECODE_ERROR, "the sound does not say how long it is; set media.folder_frame_rate_hz")
    with _image(paths[0], spec) as image:
        codec, width_px, height_px = image.codec_context.name, image.width, image.height
    facts = MediaFacts(
        container="folder",
        video_codec=codec,
        audio_codec=audio_facts[1],
        width_px=width_px,
        height_px=height_px,
        frame_rate_hz=rate_hz,
        num_frames=len(paths),
        video_duration_s=len(paths) / rate_hz,
        sample_rate_hz=audio_facts[2],
    )
    plan = Plan(
        zero_s=0.0,
        begin_s=0.0,
        end_s=len(paths) / rate_hz,
        audio_path=audio_path,
        audio_index=audio_facts[0],
        audio_zero_s=zero_s,
        facts=facts,
    )
    return FrameFolder(paths, rate_hz), plan


def _images(folder: str) -> tuple[str, ...]:
    names = [name for name in os.listdir(folder) if name.lower().endswith(FRAME_SUFFIXES) and not name.startswith(".")]
    return tuple(os.path.join(folder, name) for name in sorted(names, key=_by_number))


def _by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    """`frame_2.jpg` before `frame_10.jpg`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)], name


def _seen(path: str, spec: MediaSpec) -> np.ndarray:
    """What a viewer sees of an image, its middle cropped, uint8 [H, W, 3]."""
    with _image(path, spec) as image:
        frame = next(cast(InputContainer, image.container).decode(image), None)
        if frame is None:
            raise MediaError(Reason.DECODE_ERROR, "no picture in it")
        display = display_of(frame, float(image.sample_aspect_ratio or 1))
        size = scaled_size(frame.width, frame.height, spec.frame_size_px, display.pixel_aspect)
        scaled_HWC = Scaler().scale(frame, *size)
    return np.ascontiguousarray(crop_middle(display.upright(scaled_HWC), spec.frame_size_px))


@contextmanager
def _image(path: str, spec: MediaSpec) -> Iterator[VideoStream]:
    """The picture of an image file; what goes wrong with it is told with its name.

    The file is known by its content: by its name, `a%03d.jpg` would be a pattern of many files to ffmpeg.
    """
    try:
        with _open(path) as container:
            check_container(container, spec)
            image = choose_video(container, None)
            check_stream(image, spec)
            image.codec_context.options = {"max_pixels": str(spec.max_pixels)}
            yield image
    except MediaError as error:
        raise MediaError(error.reason, f"{os.path.basename(path)}: {error.detail}") from error
    except av.error.FFmpegError as error:
        raise MediaError(Reason.DECODE_ERROR, f"{os.path.basename(path)}: {in_words(error)}") from error


def _open(path: str) -> InputContainer:
    check_file(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return av.open(io.BytesIO(data), "r", metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise MediaError(Reason.NOT_MEDIA, f"not an image: {in_words(error)}") from error
