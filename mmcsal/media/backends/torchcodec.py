"""torchcodec, an optional extra: decodes on the GPU where there is one."""

import importlib
import sys

import av
import numpy as np

from mmcsal.media.backends.proof import ALWAYS_CLOSED, is_plain_mp4
from mmcsal.media.display import crop_middle, scaled_size
from mmcsal.media.picture import MATROSKA, Picture
from mmcsal.media.plan import Plan
from mmcsal.media.spec import MediaSpec

IN_MATROSKA = ALWAYS_CLOSED - {"mjpeg"}


def load() -> None:
    """See `backends.load`."""
    importlib.import_module("torchcodec.decoders")


def is_proven(picture: Picture) -> bool:
    """Whether torchcodec shows the same frames as a player would."""
    if picture.format == MATROSKA:
        return picture.stream.codec_context.name in IN_MATROSKA and picture.display.is_plain
    return is_plain_mp4(picture)


def read_frames(picture: Picture, plan: Plan, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray | None:
    """See `backends.read_frames`; None where torchcodec gives up on a file."""
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports] (an extra)

    size = scaled_size(picture.stream.width, picture.stream.height, spec.frame_size_px)
    try:
        decoder = VideoDecoder(
            picture.path,
            stream_index=picture.stream.index,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            device="cuda" if _has_gpu() else "cpu",
        )
        begin_s, end_s = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
        assert begin_s is not None
        assert end_s is not None
        shown_s_T = np.clip(times_s_T + plan.zero_s, begin_s, np.nextafter(end_s, begin_s))
        frames_THWC = decoder.get_frames_played_at(shown_s_T.tolist()).data.cpu().numpy()
    except (RuntimeError, ValueError, IndexError):
        return None
    frames = (av.VideoFrame.from_ndarray(frame_HWC, "rgb24").reformat(*size, threads=1) for frame_HWC in frames_THWC)
    return np.stack([crop_middle(frame.to_ndarray(), spec.frame_size_px) for frame in frames])


def _has_gpu() -> bool:
    return sys.modules["torch"].cuda.is_available()  # torchcodec has loaded it; this layer names no torch
