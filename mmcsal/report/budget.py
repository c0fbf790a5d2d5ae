"""What more or fewer labels would bring: the curves of coverage that selection measured, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mmcsal.report.facts import RunFacts

Curve = tuple[tuple[float, float], ...]  # (labels, coverage of the pool) at rising numbers of labels
# Random picks can need a hundred times the labels: an axis as long as that would squeeze the selection to a line.
MAX_AXIS_PER_SELECTION = 3


@dataclass(frozen=True)
class BudgetCurves:
    """The coverage of the selection and of random picks by their number; what a run did not measure is None."""

    num_selected: int
    curve: Curve
    random_curve: Curve = ()
    coverage_random: float | None = None  # of as many random picks
    knee: int | None = None  # labels after which each further one brings less than the average
    random_labels: int | None = None  # random picks of the same coverage, where the random curve shows them

    @property
    def coverage(self) -> float:
        return coverage_at(self.curve, self.num_selected)

    @property
    def knee_share(self) -> float | None:
        """The share of the selection's gain in coverage that stopping at the knee keeps."""
        start, end = self.curve[0][1], self.curve[-1][1]
        if self.knee is None or end <= start:
            return None
        return (coverage_at(self.curve, self.knee) - start) / (end - start)

    @property
    def axis_end(self) -> float:
        """Where a picture of both curves may end: nothing is left to see after it."""
        far = self.random_labels or (self.random_curve[-1][0] if self.random_curve else 0)
        return min(max(self.num_selected, self.curve[-1][0], far), MAX_AXIS_PER_SELECTION * self.num_selected)


def budget_of(facts: RunFacts) -> BudgetCurves | None:
    """The curves of a run; None where its selection measured none."""
    summary = facts.summary
    curve, random_curve = _curve(summary.get("coverage_curve")), _curve(summary.get("random_curve"))
    if not curve or not facts.num_selected:
        return None
    coverage_random = summary.get("coverage_random")
    if coverage_random is None and random_curve and random_curve[-1][0] >= facts.num_selected:
        coverage_random = coverage_at(random_curve, facts.num_selected)
    knee = summary.get("knee")
    return BudgetCurves(
        num_selected=facts.num_selected,
        curve=curve,
        random_curve=random_curve,
        coverage_random=coverage_random,
        knee=int(knee) if knee is not None and curve[0][0] < knee < curve[-1][0] else None,  # an end is no knee
        random_labels=_random_labels(summary, random_curve),
    )


def coverage_at(curve: Curve, labels: float) -> float:
    """The height of a curve, straight between its points and level beyond its ends."""
    if labels <= curve[0][0]:
        return curve[0][1]
    for (left, low), (right, high) in pairwise(curve):
        if left < labels <= right:
            return low + (high - low) * (labels - left) / (right - left)
    return curve[-1][1]


def _curve(points: Sequence[Sequence[float]] | None) -> Curve:
    return tuple((float(labels), float(coverage)) for labels, coverage in points or ())


def _random_labels(summary: dict[str, Any], random_curve: Curve) -> int | None:
    labels = summary.get("random_equivalent_budget")
    if labels is None or summary.get("random_equivalent_is_bound") or not random_curve:
        return None
    return int(labels) if random_curve[-1][0] >= labels else None
