"""One strategy a file, a spec over a function of a `Problem`, and what several of them share. No solvers.

The unions below are the closed list of strategies. To add one: its file, its line in a union, its test.
"""

from typing import Annotated

from pydantic import Field

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
from mmcsal.selection.strategies.mmcsal import MmcsalSpec
from mmcsal.selection.strategies.parametric import ParametricSpec
from mmcsal.selection.strategies.prob_cover import ProbCoverSpec
from mmcsal.selection.strategies.random import RandomSpec
from mmcsal.selection.strategies.typiclust import TypiClustSpec

ColdStart = (
    MmcsalSpec
    | ActiveFtSpec
    | FacilityLocationSpec
    | KCenterSpec
    | KMeansNearestSpec
    | ParametricSpec
    | ProbCoverSpec
    | RandomSpec
    | TypiClustSpec
)
WarmStart = BadgeSpec | BaldSpec | BmmalSpec | DeepFoolSpec | EntropySpec | MarginSpec  # need labels of earlier rounds
Strategy = Annotated[ColdStart | WarmStart, Field(discriminator="kind")]
