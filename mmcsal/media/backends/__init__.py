"""Who decodes the frames: PyAV, which is right for all files, or another where it is proven to show the same frames."""

import numpy as np

from mmcsal.media.backends import decord, pyav, torchcodec
from mmcsal.media.picture import Picture
from mmcsal.media.plan import Plan
from mmcsal.media.spec import MediaSpec

FASTER = {"decord": decord, "torchcodec": torchcodec}


def read_frames(picture: Picture, plan: Plan, times_s_T: np.ndarray, spec: MediaSpec) -> np.ndarray:
    """The frame that is on screen at each time: upright, its pixels square, the middle cropped; uint8 [T, H, W, 3].

    Args:
        times_s_T: on the player's clock, ascending.

    Raises:
        MediaError: too much of the picture is damaged.
    """
    backend = FASTER.get(backend_of(spec))
    if backend is not None and backend.is_proven(picture):
        frames_THWC = backend.read_frames(picture, plan, times_s_T, spec)
        if frames_THWC is not None:
            return frames_THWC
    return pyav.read_frames(picture, plan, times_s_T, spec)


def load(spec: MediaSpec) -> None:
    """Loads the library of a backend ahead of its first file, and has it say nothing of broken ones."""
    backend = FASTER.get(backend_of(spec))
    if backend is not None:
        backend.load()


def backend_of(spec: MediaSpec) -> str:
    """The backend of files for which it is proven; PyAV reads the others, and key frames."""
    if spec.sampling == "keyframes":
        return "pyav"
    return "pyav" if spec.backend == "auto" else spec.backend
