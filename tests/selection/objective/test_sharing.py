import numpy as np

from mmcsal.selection.objective.sharing import shared_part


def test_more_is_shared_where_pairs_are_told_apart_better():
    found = [shared_part(separation) for separation in np.linspace(0, 1, 101)]
    assert found == sorted(found)
    assert (found[50], found[-1]) == (0, 1)
