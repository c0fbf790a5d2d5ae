"""Objectives of Stage 1, one a file: a frozen spec over a pure function and the module that holds its parameters."""

from mmcsal.losses.joint import MmsslObjective, MmsslSpec

ObjectiveSpec = MmsslSpec  # the closed set of objectives: one member so far

__all__ = ["MmsslObjective", "MmsslSpec", "ObjectiveSpec"]
