"""Decodes one sample into a clip: what a viewer sees and hears, both cut by one clock."""

import os
from dataclasses import dataclass

import av.error
import numpy as np
from av.container import InputContainer

from mmcsal.contracts.reject import Reason
from mmcsal.media.backends import read_frames
from mmcsal.media.frame_folder import plan_folder
from mmcsal.media.picture import Picture
from mmcsal.media.plan import Plan, make_plan
from mmcsal.media.probe import MediaError, MediaFacts, in_words
from mmcsal.media.sample import Window, choose_window, part_of, slice_middles_s
from mmcsal.media.sound import SoundWindow, cut_sound
from mmcsal.media.spec import MediaSpec


@dataclass(frozen=True)
class Source:
    """Where one sample lies; times are those that a player shows."""

    sample_id: str
    uri: str
    audio_uri: str | None = None
    start_s: float | None = None
    duration_s: float | None = None
    content_hash: str | None = None  # what the scan found; None = unknown


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
    try:
        return _decode_folder(source, spec) if os.path.isdir(source.uri) else _decode_file(source, spec)
    except av.error.FFmpegError as error:
        raise MediaError(Reason.DECODE_ERROR, f"video: {in_words(error)}") from error


def _decode_file(source: Source, spec: MediaSpec) -> Clip:
    with Picture(source.uri, spec) as picture:
        plan = make_plan(picture, source.audio_uri, spec)
        window, duration_s = _window_of(source, plan, spec)
        frames_THWC = read_frames(picture, plan, slice_middles_s(window, spec.num_frames), spec)
        audio_L = _decode_audio(plan, window, None if source.audio_uri else picture.container, spec)
    return Clip(frames_THWC, audio_L, duration_s, plan.facts)


def _decode_folder(source: Source, spec: MediaSpec) -> Clip:
    frames, plan = plan_folder(source.uri, source.audio_uri, spec)
    window, duration_s = _window_of(source, plan, spec)
    frames_THWC = frames.read(slice_middles_s(window, spec.num_frames), spec)
    return Clip(frames_THWC, _decode_audio(plan, window, None, spec), duration_s, plan.facts)


def _window_of(source: Source, plan: Plan, spec: MediaSpec) -> tuple[Window, float]:
    """What of a sample is decoded, and how long the whole sample is, in seconds."""
    part = part_of(plan.begin_s, plan.end_s, source.start_s, source.duration_s)
    window = choose_window(part, spec.window_s, spec.window)
    _check_duration("video", window.duration_s, spec)
    return window, min(source.duration_s or part.duration_s, part.duration_s)


def _decode_audio(plan: Plan, window: Window, container: InputContainer | None, spec: MediaSpec) -> np.ndarray:
    """The sound of the window, int16 [L], zero-padded."""
    start_s = window.start_s + plan.audio_zero_s
    wanted = SoundWindow(
        path=plan.audio_path,
        stream_index=plan.audio_index,
        zero_s=plan.audio_zero_s,
        start_s=start_s,
        duration_s=window.duration_s,
        sample_rate_hz=spec.sample_rate_hz,
    )
    try:
        sound_L, heard_s = cut_sound(wanted, container)
    except av.error.FFmpegError as error:
        raise MediaError(Reason.DECODE_ERROR, f"audio: {in_words(error)}") from error
    _check_duration("audio", heard_s, spec)
    padded_L = np.zeros(spec.num_audio_samples, dtype=np.int16)
    padded_L[: len(sound_L)] = sound_L[: len(padded_L)]
    return padded_L


def _check_duration(stream: str, duration_s: float, spec: MediaSpec) -> None:
    if duration_s < spec.min_duration_s:
        raise MediaError(
            Reason.TOO_SHORT,
            f"{max(duration_s, 0):.2f} s of {stream}; media.min_duration_s is {spec.min_duration_s:g}",
        )
