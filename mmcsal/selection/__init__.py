"""Stage 2: which pairs to label first. Pure algorithms; `mmcsal.distributed.selection` runs the same steps on Ray."""

from mmcsal.selection.api import select_pairs
from mmcsal.selection.result import Selection
from mmcsal.selection.spec import Quota, SelectSpec, TotalCost
from mmcsal.selection.strategies import MmcsalSpec

__all__ = ["MmcsalSpec", "Quota", "SelectSpec", "Selection", "TotalCost", "select_pairs"]
