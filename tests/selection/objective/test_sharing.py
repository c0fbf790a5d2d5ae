import numpy as np
import pytest

from mmcsal.selection.objective.sharing import joint_share

SEPARATIONS = np.linspace(0, 1, 101)


def test_joint_coverage_counts_more_where_pairs_are_told_apart_better_and_half_where_they_are_not():
    found = [joint_share(separation) for separation in SEPARATIONS]
    assert found == sorted(found)
    assert (found[0], found[50], found[-1]) == (0.5, 0.5, 1)
    assert joint_share(0.9) == pytest.approx(0.8)
