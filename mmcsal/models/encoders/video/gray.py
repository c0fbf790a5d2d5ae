"""Gray frames."""

import numpy as np
import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def to_gray(video_BTHWC: Tensor) -> Tensor:
    """Float video with 3 channels -> 1 channel, [B, T, H, W, 1]; with 1 channel as it is."""
    if video_BTHWC.shape[-1] == 1:
        return video_BTHWC
    return (video_BTHWC @ video_BTHWC.new_tensor(LUMA))[..., None]


def gray_bytes(video_NTHWC: np.ndarray) -> np.ndarray:
    """uint8 video with 3 channels -> uint8 with 1 channel, one clip at a time: the floats of many would not fit."""
    gray = np.empty((*video_NTHWC.shape[:-1], 1), dtype=np.uint8)
    luma = torch.tensor(LUMA)
    for i, source in enumerate(video_NTHWC):
        gray[i, ..., 0] = (torch.tensor(source, dtype=torch.float32) @ luma).round().numpy()
    return gray
