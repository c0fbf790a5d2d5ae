"""Objectives of Stage 1, one a file: a frozen spec over a pure function and the module that holds its parameters.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
B      samples of one batch
K      prototypes
Q      rows of the queue
=====  ==========================================
"""

from mmcsal.losses.joint import MmsslObjective, MmsslSpec

ObjectiveSpec = MmsslSpec  # the closed set of objectives: one member so far

__all__ = ["MmsslObjective", "MmsslSpec", "ObjectiveSpec"]
