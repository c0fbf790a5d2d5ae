"""What all measures ask of their arguments."""

from mmcsal.metrics.arrays import Array


def check_pairs(a_ND: Array, b_ND: Array) -> None:
    """Raises ValueError unless both are [N > 0, D], of one shape."""
    if a_ND.shape != b_ND.shape or a_ND.ndim != 2 or len(a_ND) == 0:
        raise ValueError(f"expected two equal shapes [N > 0, D], got {tuple(a_ND.shape)} and {tuple(b_ND.shape)}")


def check_labels(x_ND: Array, labels_N: Array) -> None:
    """Raises ValueError unless x is [N > 0, D] and there is one integer label a row."""
    if x_ND.ndim != 2 or len(x_ND) == 0 or labels_N.shape != x_ND.shape[:1] or not _is_integer(labels_N):
        raise ValueError(
            f"expected rows [N > 0, D] and integer labels [N], got {tuple(x_ND.shape)} "
            f"and {labels_N.dtype} {tuple(labels_N.shape)}"
        )


def _is_integer(labels_N: Array) -> bool:
    kinds = ("int", "uint", "bool")  # of numpy "int64", of PyTorch "torch.int64"
    return str(labels_N.dtype).removeprefix("torch.").startswith(kinds)
