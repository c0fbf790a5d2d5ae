import numpy as np
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.training.data.order import Lanes, cut_lanes, epoch_order, place_pairs
from mmcsal.training.spec import PretrainSpec

CLIPS_OF = [np.arange(10), np.arange(7), np.array([1, 4, 6]), np.arange(4)]
LANES = Lanes(num_lanes=2, batch_size=6, steps_per_epoch=4, window_clips=8)


def test_the_order_is_that_of_the_first_version():
    """Two lanes of three rows: of the 24 clips none is dropped, and each lane mixes two partitions at most."""
    order = epoch_order(CLIPS_OF, LANES, seed=3, epoch=5)
    assert order.dtype == np.int64
    assert [" ".join(f"{partition}.{place}" for partition, place in step) for step in order] == [
        "0.9 0.2 0.7 1.0 1.5 1.4",
        "0.5 0.0 0.6 1.3 1.2 1.1",
        "0.4 0.8 0.1 2.6 1.6 3.3",
        "0.3 2.1 2.4 3.0 3.2 3.1",
    ]


def test_each_clip_is_there_once_and_other_seeds_and_epochs_are_others():
    everything = sorted(map(tuple, place_pairs(np.arange(4), CLIPS_OF)))
    orders = [epoch_order(CLIPS_OF, LANES, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert order.shape == (4, 6, 2)
        assert sorted(map(tuple, order.reshape(-1, 2))) == everything
    assert len({order.tobytes() for order in orders}) == 3


def test_the_ragged_end_of_each_lane_is_dropped():
    lanes = Lanes(num_lanes=2, batch_size=10, steps_per_epoch=2, window_clips=1)
    order = epoch_order(CLIPS_OF, lanes, seed=0, epoch=0)
    assert order.shape == (2, 10, 2)
    assert len(set(map(tuple, order.reshape(-1, 2)))) == 20


def test_lanes_of_a_small_corpus_are_those_of_its_workers():
    spec = PretrainSpec(batch_size=64, num_lanes=16, shuffle_buffer_bytes=1000)
    assert cut_lanes(spec, 100, 10, 1) == Lanes(16, 64, 1, 6)
    assert cut_lanes(spec, 11, 10, 2) == Lanes(2, 10, 1, 50)
    with pytest.raises(InputError, match=r"3 clips in batches of 64 give 2 workers .* at least 4"):
        cut_lanes(spec, 3, 10, 2)
