"""PyAV: reads frames in order from a key frame on, each with its own time. Right for every kind of file."""

from collections import deque

import numpy as np
from av.video.frame import PictureType, VideoFrame

from mmcsal.contracts.reject import Reason
from mmcsal.media.backends.proof import closed_keys, has_plain_picture
from mmcsal.media.display import Scaler, crop_middle, scaled_size
from mmcsal.media.limits import check_damage, check_size
from mmcsal.media.picture import Picture
from mmcsal.media.plan import Plan
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

# With intra-refresh, what is marked as a key frame is none: its picture leans on others.
WHOLE = {PictureType.I, PictureType.NONE}


def read_frames(picture: Picture, plan: Plan, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray:
    """See `backends.read_frames`."""
    reader = _Reader(picture, spec)
    frames: list[np.ndarray] = []
    if spec.sampling == "keyframes":
        frames = reader.frames_at(times_s_T + plan.zero_s, keys_only=True)
    if not frames:
        for part_s in _split_at_keys(picture, times_s_T + plan.zero_s):
            frames += reader.frames_at(part_s, keys_only=False)
    reader.check_damage()
    if len(frames) < len(times_s_T):
        raise MediaError(Reason.DECODE_ERROR, "video: no frame of the window can be decoded")
    return np.stack(frames)


def _split_at_keys(picture: Picture, times_s_T: np.ndarray) -> list[np.ndarray]:
    """Times that are read one after another, apart where it is right to jump to a key frame between two of them."""
    if not has_plain_picture(picture) or picture.stream.time_base is None:
        return [times_s_T]
    entries, time_base = picture.stream.index_entries, float(picture.stream.time_base)
    lag = -entries[0].timestamp  # the index has the times of decoding: the first frame is shown at 0
    first, last = (max(entries.search_timestamp(round(times_s_T[n] / time_base) - lag), 0) for n in (0, -1))
    keys = closed_keys(picture, first, last + 1)
    if keys is None:
        return [times_s_T]
    group_T = np.searchsorted((np.array(keys) + lag) * time_base, times_s_T, side="right")
    return np.split(times_s_T, np.flatnonzero(np.diff(group_T)) + 1)


class _Reader:
    """Frames of one picture by time, and how many of the packets that were read are damaged."""

    def __init__(self, picture: Picture, spec: MediaSpec) -> None:
        self._picture, self._spec, self._scaler = picture, spec, Scaler()
        self._num_packets = self._num_damaged = 0

    def frames_at(self, times_s_T: np.ndarray, *, keys_only: bool) -> list[np.ndarray]:
        """What is seen at each time on the container's clock; empty where nothing, or no key frame, can be decoded."""
        waiting = deque(times_s_T.tolist())
        frames: list[np.ndarray] = []
        shown = None
        for time_s, frame in self._picture.frames_at(waiting[0], keys_only=keys_only):
            if keys_only and frame.pict_type not in WHOLE:
                return []
            frames += self._emit(shown, _pop_before(waiting, time_s) if shown else 0)
            if not waiting:
                break
            shown = frame
        frames += self._emit(shown, len(waiting))  # the last frame stays on screen to the end
        self._num_packets += self._picture.num_packets
        self._num_damaged += self._picture.num_damaged
        return frames

    def check_damage(self) -> None:
        """As `limits.check_damage`, of the packets read so far."""
        check_damage("video", self._num_damaged, self._num_packets)

    def _emit(self, frame: VideoFrame | None, count: int) -> list[np.ndarray]:
        """The same frame as often as it is wanted."""
        return [self._seen(frame)] * count if frame is not None and count else []

    def _seen(self, frame: VideoFrame) -> np.ndarray:
        """What a viewer sees of a frame, uint8 [H, W, 3]."""
        display, size_px = self._picture.display, self._spec.frame_size_px
        check_size(frame.width, frame.height, self._spec, display.pixel_aspect)  # it may change in mid-stream
        size = scaled_size(frame.width, frame.height, size_px, display.pixel_aspect)
        return np.ascontiguousarray(crop_middle(display.upright(self._scaler.scale(frame, *size)), size_px))


def _pop_before(waiting: deque[float], time_s: float) -> int:
    """Takes off, and counts, the times at which the frame before the one of `time_s` is on screen."""
    count = 0
    while waiting and waiting[0] < time_s:
        waiting.popleft()
        count += 1
    return count
