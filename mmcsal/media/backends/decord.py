"""decord: scales in its decoder and hands out only the frames that are asked for. Used for plain MP4 files alone."""

import numpy as np

from mmcsal.media.backends.proof import is_plain_mp4
from mmcsal.media.display import crop_middle, scaled_size
from mmcsal.media.picture import Picture
from mmcsal.media.plan import MIN_INTACT_FRACTION, Plan
from mmcsal.media.sample import choose_frames
from mmcsal.media.spec import MediaSpec

CODECS = {"h264", "hevc", "mpeg4", "vp9", "mjpeg"}


def load() -> None:
    """See `backends.load`."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)


def is_proven(picture: Picture) -> bool:
    """Whether decord shows the same frames as a player would."""
    return picture.stream.codec_context.name in CODECS and is_plain_mp4(picture)


def read_frames(picture: Picture, plan: Plan, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray | None:
    """See `backends.read_frames`; None where decord gives up, as it does on damage and on some widths."""
    import decord

    width, height = scaled_size(picture.stream.width, picture.stream.height, spec.frame_size_px)
    try:
        reader = decord.VideoReader(picture.path, ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        if len(reader) < MIN_INTACT_FRACTION * picture.stream.frames:
            return None
        shown_T2 = reader.get_frame_timestamp(range(len(reader)))  # from and until when each frame is on screen
        indices = choose_frames(shown_T2[:, 0] - shown_T2[0, 0], times_s_T)
        return np.ascontiguousarray(crop_middle(reader.get_batch(indices).asnumpy(), spec.frame_size_px))
    except Exception:  # decord raises its own and plain errors alike; PyAV finds out what is wrong with the file
        return None
