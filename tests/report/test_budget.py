"""The curves of coverage, out of summaries new and old."""

import pytest

from mmcsal.report.budget import budget_of, coverage_at
from mmcsal.report.facts import RunFacts

CURVE = [[0, 0.2], [8, 0.5], [32, 0.6]]
RANDOM_CURVE = [[0, 0.2], [32, 0.4], [80, 0.7]]


def budget(num_selected=32, **summary):
    facts = RunFacts(
        run_name="run",
        picks=(),
        num_selected=num_selected,
        round=0,
        selected_at=None,
        summary=summary,
        modalities=("video", "audio"),
    )
    return budget_of(facts)


def test_a_run_without_a_curve_has_no_budget():
    assert budget() is None
    assert budget(coverage_curve=[]) is None
    assert budget(random_curve=RANDOM_CURVE, knee=8) is None
    assert budget(num_selected=0, coverage_curve=[[0, 0.2]]) is None


def test_an_older_curve_alone_is_enough():
    found = budget(coverage_curve=[[1, 0.1], [16, 0.5], [32, 0.6]])
    assert found.coverage == 0.6
    assert found.axis_end == 32
    assert (found.random_curve, found.coverage_random, found.knee, found.knee_share, found.random_labels) == (
        (),
        None,
        None,
        None,
        None,
    )


class TestKnee:
    def test_keeps_a_share_of_the_gain_over_the_labeled_samples(self):
        assert budget(coverage_curve=CURVE, knee=8).knee_share == pytest.approx(0.75)

    def test_may_lie_between_points_of_the_curve(self):
        assert budget(coverage_curve=CURVE, knee=20).knee_share == pytest.approx(0.875)

    @pytest.mark.parametrize("knee", [None, 0, 32, 40])
    def test_at_an_end_is_none(self, knee):
        assert budget(coverage_curve=CURVE, knee=knee).knee is None

    def test_of_a_level_curve_keeps_no_share(self):
        assert budget(coverage_curve=[[0, 0.6], [8, 0.6], [32, 0.6]], knee=8).knee_share is None


class TestRandom:
    @pytest.mark.parametrize(
        ("random_curve", "labels", "is_bound", "expected"),
        [
            (RANDOM_CURVE, 64, False, 64),
            (RANDOM_CURVE, 64, None, 64),
            (RANDOM_CURVE, 80, True, None),  # never reached
            (RANDOM_CURVE, 81, False, None),  # reached after the end of the curve
            (RANDOM_CURVE, None, False, None),
            (None, 64, False, None),
        ],
    )
    def test_labels_are_known_where_the_curve_shows_them(self, random_curve, labels, is_bound, expected):
        found = budget(
            coverage_curve=CURVE,
            random_curve=random_curve,
            random_equivalent_budget=labels,
            random_equivalent_is_bound=is_bound,
        )
        assert found.random_labels == expected

    def test_coverage_of_as_many_is_read_off_the_curve_where_it_is_not_said(self):
        assert budget(coverage_curve=CURVE, random_curve=RANDOM_CURVE).coverage_random == pytest.approx(0.4)
        assert budget(coverage_curve=CURVE, random_curve=RANDOM_CURVE, coverage_random=0.41).coverage_random == 0.41
        assert budget(coverage_curve=CURVE, random_curve=RANDOM_CURVE[:1]).coverage_random is None


class TestAxis:
    def test_ends_where_random_picks_reach_the_coverage(self):
        found = budget(coverage_curve=CURVE, random_curve=RANDOM_CURVE, random_equivalent_budget=64)
        assert found.axis_end == 64

    def test_ends_with_the_random_curve_that_never_reaches_it(self):
        assert budget(coverage_curve=CURVE, random_curve=[[0, 0.2], [50, 0.3]]).axis_end == 50

    def test_is_never_much_longer_than_the_selection(self):
        long = [*RANDOM_CURVE, [5000, 0.9]]
        assert budget(coverage_curve=CURVE, random_curve=long, random_equivalent_budget=4000).axis_end == 96

    def test_holds_the_selection_where_random_picks_are_better(self):
        found = budget(coverage_curve=CURVE, random_curve=RANDOM_CURVE, random_equivalent_budget=10)
        assert found.axis_end == 32


@pytest.mark.parametrize(("labels", "coverage"), [(-1, 0.2), (0, 0.2), (4, 0.35), (8, 0.5), (20, 0.55), (99, 0.6)])
def test_coverage_at(labels, coverage):
    assert coverage_at(tuple(map(tuple, CURVE)), labels) == pytest.approx(coverage)
