"""ResNet-18 without its classifier, from random or local weights."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from mmcsal.contracts.errors import InputError
from mmcsal.models.norms import Norm, replace_batch_norms

WIDTH = 512


def resnet18_features(num_channels: int, weights: Path | None, norm: Norm) -> nn.Module:
    """Images float [B, num_channels, H, W] -> features [B, 512].

    Args:
        num_channels: 3, or 1 (the colour filters of given weights are summed).
        weights: a local file of torchvision's `resnet18` state dict; None = random.
        norm: what stands in the place of its BatchNorms.

    Raises:
        InputError: the file is missing or holds something else.
    """
    from torchvision.models import resnet18  # an extra: selection must import without it

    net = resnet18(weights=None)
    net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    if weights is not None:
        load_torchvision_weights(net, weights, "resnet18")
    if num_channels != 3:
        color_weight = net.conv1.weight.detach()
        net.conv1 = nn.Conv2d(num_channels, 64, 7, 2, padding=3, bias=False)
        if weights is not None:
            net.conv1.weight = nn.Parameter(color_weight.sum(dim=1, keepdim=True))
    replace_batch_norms(net, norm)
    return net


def load_torchvision_weights(net: nn.Module, path: Path, name: str) -> None:
    """Loads a state dict of torchvision into `net`, which is that network without its classifier `fc`.

    Args:
        name: of the network, for the reader of an error.

    Raises:
        InputError: the file is missing, unreadable or holds something else.
    """
    if not path.is_file():
        raise InputError(f"encoder weights: {path} is no file; expected torchvision's {name} state dict (.pth)")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"encoder weights: {path} cannot be read ({type(error).__name__}); expected torchvision's {name} state "
            "dict, saved by torch.save"
        ) from error
    state = {key: value for key, value in state.items() if not key.startswith("fc.")} if isinstance(state, dict) else {}
    wrong = _first_difference(_shapes(net.state_dict()), _shapes(state))
    if wrong is not None:
        raise InputError(f"encoder weights: {path} holds no {name} state dict of torchvision: {wrong}")
    net.load_state_dict(state)


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Without the counters of batches, which older files lack and torch fills in."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return {key: tuple(value.shape) for key, value in tensors.items() if not key.endswith(".num_batches_tracked")}


def _first_difference(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str | None:
    for key, shape in expected.items():
        if key not in found:
            return f"{key} is missing"
        if found[key] != shape:
            return f"{key} has shape {list(found[key])}, expected {list(shape)}"
    return next((f"{key} belongs to another network" for key in found if key not in expected), None)
