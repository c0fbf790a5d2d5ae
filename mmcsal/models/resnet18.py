"""ResNet-18 without its classifier, from random or local weights."""

from pathlib import Path

import torch
from torch import nn

from mmcsal.contracts.errors import InputError

WIDTH = 512


def resnet18_features(num_channels: int, weights: Path | None) -> nn.Module:
    """Images float [B, num_channels, H, W] -> features [B, 512].

    Args:
        num_channels: 3, or 1 (the colour filters of given weights are summed).
        weights: a local file of torchvision's `resnet18` state dict; None = random.
    Raises: InputError: the file is missing or holds something else.
    """
    from torchvision.models import resnet18  # an extra: selection must import without it

    net = resnet18(weights=None)
    net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    if num_channels != 3:
        net.conv1 = nn.Conv2d(num_channels, 64, 7, 2, padding=3, bias=False)
    if weights is not None:
        net.load_state_dict(_read_weights(weights, num_channels))
    return net


def _read_weights(path: Path, num_channels: int) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"encoder weights: {path} is no file; expected torchvision's resnet18 state dict (.pth)")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or "conv1.weight" not in state or "layer4.1.bn2.running_var" not in state:
        raise InputError(f"encoder weights: {path} holds no resnet18 state dict; expected torchvision's key names")
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    if num_channels == 1:
        state["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    return state
