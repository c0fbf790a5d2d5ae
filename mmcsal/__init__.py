"""Decide which unlabeled clips to label first: multimodal cold-start active learning on Ray."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmcsal.selection import select_pairs

    __version__: str

__all__ = ["__version__", "select_pairs"]


def __getattr__(name: str) -> object:
    # On first use: `import mmcsal` must stay fast, and stages other than selection need no numba.
    if name == "select_pairs":
        from mmcsal.selection import select_pairs

        return select_pairs
    if name == "__version__":  # written once, in pyproject.toml
        from importlib.metadata import version

        return version("mmcsal")
    raise AttributeError(f"module 'mmcsal' has no attribute {name!r}")
