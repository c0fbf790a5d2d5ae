"""How a decoded frame becomes what a viewer sees: turned upright, its pixels square, its middle cropped."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Display:
    """How frames of a stream are shown: first stretched to square pixels, then transposed, then flipped."""

    pixel_aspect: float = 1.0  # width of a pixel / its height, as coded
    is_transposed: bool = False
    is_flipped_x: bool = False
    is_flipped_y: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Display()

    def upright(self, frame_HWC: np.ndarray) -> np.ndarray:
        """The frame as it is shown, a view."""
        if self.is_transposed:
            frame_HWC = frame_HWC.swapaxes(0, 1)
        return frame_HWC[:: -1 if self.is_flipped_y else 1, :: -1 if self.is_flipped_x else 1]


def display_of(frame: VideoFrame, pixel_aspect: float) -> Display:
    """How a frame is shown, from the matrix that its container or its codec gives it.

    A matrix that turns by no multiple of a right angle counts as the nearest one.
    """
    side_data = cast(Mapping[Type, Buffer], frame.side_data)
    if Type.DISPLAYMATRIX not in side_data:
        return Display(pixel_aspect)
    matrix = bytes(side_data[Type.DISPLAYMATRIX])
    a, b, _, c, d = struct.unpack("<5i", matrix[:20])  # x' = a x + c y, y' = b x + d y
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Display(pixel_aspect, True, c < 0, b < 0)
    return Display(pixel_aspect, False, a < 0, d < 0)


def scaled_size(width_px: int, height_px: int, short_side_px: int, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Width and height with the short side at `short_side_px` and the shape as shown."""
    width = width_px * pixel_aspect
    scale = short_side_px / min(width, height_px)
    return max(short_side_px, round(width * scale)), max(short_side_px, round(height_px * scale))


def crop_middle(frames_HWC: np.ndarray, size_px: int) -> np.ndarray:
    """The middle square of frames [..., H, W, C], a view."""
    height, width = frames_HWC.shape[-3:-1]
    top, left = (height - size_px) // 2, (width - size_px) // 2
    return frames_HWC[..., top : top + size_px, left : left + size_px, :]


class Scaler:
    """Scales frames to RGB by ffmpeg's filter, which knows where in a pixel its color lies; PyAV's own does not."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[object, ...], Graph] = {}

    def scale(self, frame: VideoFrame, width_px: int, height_px: int) -> np.ndarray:
        """The frame as uint8 [H, W, 3]."""
        coded = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        key = (*coded, width_px, height_px)
        if key not in self._graphs:
            self._graphs[key] = _scaling(frame, width_px, height_px)
        self._graphs[key].push(frame)
        return self._graphs[key].vpull().to_ndarray()


def _scaling(frame: VideoFrame, width_px: int, height_px: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)),
        graph.add("scale", f"{width_px}:{height_px}:flags=bilinear"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    )
    graph.configure()
    return graph
