"""Arrays of numpy and tensors of PyTorch by the same code: the metrics of a space need no PyTorch of their own."""

import sys
from typing import Any

import numpy as np

Array = Any  # np.ndarray or torch.Tensor; what goes in together is of one kind, and comes out as that


def namespace_of(x: Array) -> Any:
    """The module whose functions take `x`: numpy, or PyTorch, which is there where its tensors are."""
    return sys.modules["torch"] if _is_tensor(x) else np


def as_float64(x: Array) -> Array:
    return x.double() if _is_tensor(x) else x.astype(np.float64)


def _is_tensor(x: Array) -> bool:
    return hasattr(x, "detach")
