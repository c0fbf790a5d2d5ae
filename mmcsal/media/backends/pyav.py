"""PyAV: reads frames in order from a key frame on, each with its own time. Right for every kind of file."""

from collections import deque

import numpy as np
from av.video.frame import PictureType, VideoFrame

from mmcsal.contracts.reject import Reason
from mmcsal.media.display import crop_middle, scaled_size
from mmcsal.media.limits import check_size
from mmcsal.media.picture import Picture
from mmcsal.media.plan import Plan
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

# With intra-refresh, what is marked as a key frame is none: its picture leans on others.
WHOLE = {PictureType.I, PictureType.NONE}


def read_frames(picture: Picture, plan: Plan, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray:
    """See `backends.read_frames`."""
    frames: list[np.ndarray] = []
    if spec.sampling == "keyframes":
        frames = _frames_at(picture, times_s_T + plan.zero_s, spec, keys_only=True)
    if not frames:
        frames = _frames_at(picture, times_s_T + plan.zero_s, spec, keys_only=False)
    if not frames:
        raise MediaError(Reason.DECODE_ERROR, "video: no frame of the window can be decoded")
    return np.stack(frames)


def _frames_at(picture: Picture, times_s_T: np.ndarray, spec: MediaSpec, *, keys_only: bool) -> list[np.ndarray]:
    """What is seen at each time on the container's clock; empty where nothing, or no key frame, can be decoded."""
    waiting = deque(times_s_T.tolist())
    frames: list[np.ndarray] = []
    shown = None
    for time_s, frame in picture.frames_at(waiting[0], keys_only=keys_only):
        if keys_only and frame.pict_type not in WHOLE:
            return []
        frames += _emit(shown, picture, spec, _pop_before(waiting, time_s) if shown else 0)
        if not waiting:
            break
        shown = frame
    frames += _emit(shown, picture, spec, len(waiting))  # the last frame stays on screen to the end
    picture.check_damage()
    return frames


def _pop_before(waiting: deque[float], time_s: float) -> int:
    """Takes off, and counts, the times at which the frame before the one of `time_s` is on screen."""
    count = 0
    while waiting and waiting[0] < time_s:
        waiting.popleft()
        count += 1
    return count


def _emit(frame: VideoFrame | None, picture: Picture, spec: MediaSpec, count: int) -> list[np.ndarray]:
    """The same frame as often as it is wanted."""
    return [_seen(frame, picture, spec)] * count if frame is not None and count else []


def _seen(frame: VideoFrame, picture: Picture, spec: MediaSpec) -> np.ndarray:
    """What a viewer sees of a frame, uint8 [H, W, 3]."""
    check_size(frame.width, frame.height, spec, picture.display.pixel_aspect)  # it may change in the middle of a stream
    width, height = scaled_size(frame.width, frame.height, spec.frame_size_px, picture.display.pixel_aspect)
    scaled_HWC = frame.reformat(width, height, "rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(crop_middle(picture.display.upright(scaled_HWC), spec.frame_size_px))
