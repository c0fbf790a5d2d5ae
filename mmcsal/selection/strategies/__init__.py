"""One strategy a file, a spec over a function of a `Problem`, and what several of them share. No solvers.

The unions below are the one list of strategies: what ranks a pool, what `evaluate` compares and the tables of the
documentation follow from them. To add one: its file, its line in a union, its test.
"""

from collections.abc import Callable
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import Field

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies.active_ft import ActiveFtSpec
from mmcsal.selection.strategies.badge import BadgeSpec
from mmcsal.selection.strategies.bald import BaldSpec
from mmcsal.selection.strategies.bmmal import BmmalSpec
from mmcsal.selection.strategies.deep_fool import DeepFoolSpec
from mmcsal.selection.strategies.entropy import EntropySpec
from mmcsal.selection.strategies.facility_location import FacilityLocationSpec
from mmcsal.selection.strategies.k_center import KCenterSpec
from mmcsal.selection.strategies.kmeans_nearest import KMeansNearestSpec
from mmcsal.selection.strategies.margin import MarginSpec
from mmcsal.selection.strategies.max_herding import MaxHerdingSpec
from mmcsal.selection.strategies.mmcsal import MmcsalSpec
from mmcsal.selection.strategies.parametric import ParametricSpec
from mmcsal.selection.strategies.prob_cover import ProbCoverSpec
from mmcsal.selection.strategies.problem import Problem
from mmcsal.selection.strategies.random import RandomSpec
from mmcsal.selection.strategies.typiclust import TypiClustSpec

ColdStart = (
    MmcsalSpec
    | FacilityLocationSpec
    | ParametricSpec
    | RandomSpec
    | KMeansNearestSpec
    | KCenterSpec
    | TypiClustSpec
    | ProbCoverSpec
    | MaxHerdingSpec
    | ActiveFtSpec
)
WarmStart = EntropySpec | MarginSpec | BaldSpec | DeepFoolSpec | BadgeSpec | BmmalSpec  # need labels of earlier rounds
Strategy = Annotated[ColdStart | WarmStart, Field(discriminator="kind")]


def specs_of(union: UnionType) -> dict[str, type[Spec]]:
    """The specs of a union by their kind, in its order."""
    return {spec.model_fields["kind"].default: spec for spec in get_args(union)}


def _rank_rows_of(spec: type[Spec]) -> Callable[[Problem, Any], np.ndarray]:
    module = import_module(spec.__module__)
    if not hasattr(module, "rank_rows"):
        raise ImportError(f"{module.__file__}: expected a function rank_rows(problem, spec) beside {spec.__name__}")
    return module.rank_rows


# What ranks a whole pool: the function beside each spec. `mmcsal` alone has none; it is made of cells and of a merge.
RANK_ROWS = {spec: _rank_rows_of(spec) for spec in specs_of(ColdStart | WarmStart).values() if spec is not MmcsalSpec}
