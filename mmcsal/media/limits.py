"""How much a file may ask for, since a few bytes can promise gigabytes, and how much of it may be damaged."""

from av.container import InputContainer
from av.video import VideoStream

from mmcsal.contracts.reject import Reason
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

# Above this share of packets that no decoder can read, a file is damaged past concealing.
MAX_DAMAGED_FRACTION = 0.1


def check_container(container: InputContainer, spec: MediaSpec) -> None:
    """Raises:
    MediaError: more streams than the limits allow.
    """
    _check(len(container.streams), f"{len(container.streams)} streams", "max_streams", spec.max_streams)


def check_stream(stream: VideoStream, spec: MediaSpec) -> None:
    """Raises:
    MediaError: the frames are more, or larger, than the limits allow.
    """
    _check(stream.frames, f"{stream.frames} frames", "max_frames", spec.max_frames)
    check_size(stream.codec_context.width, stream.codec_context.height, spec, float(stream.sample_aspect_ratio or 1))


def check_size(width_px: int, height_px: int, spec: MediaSpec, pixel_aspect: float = 1.0) -> None:
    """Raises:
    MediaError: frames of this size are larger than the limits allow.
    """
    size = f"{width_px}x{height_px} pixels"
    _check(max(width_px, height_px), size, "max_side_px", spec.max_side_px)
    _check(width_px * height_px, size, "max_pixels", spec.max_pixels)
    aspect = width_px * pixel_aspect / height_px
    size += f", shown as {aspect:.4g} to 1"
    _check(max(aspect, 1 / aspect), size, "max_aspect", spec.max_aspect)


def check_damage(kind: str, num_damaged: int, num_packets: int) -> None:
    """Raises:
    MediaError: of the packets read so far, more than a few cannot be decoded.
    """
    if num_damaged > MAX_DAMAGED_FRACTION * num_packets:
        raise MediaError(Reason.DECODE_ERROR, f"{kind}: {num_damaged} of {num_packets} packets are damaged")


def _check(value: float, what: str, key: str, limit: float) -> None:
    if value > limit:
        raise MediaError(Reason.TOO_LARGE, f"{what}; media.{key} is {limit:.15g}")
