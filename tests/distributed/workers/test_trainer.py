import pytest

from mmcsal.distributed.workers.trainer import epochs_shown


def test_epochs_that_end_after_the_last_look_are_shown():
    num_done, shown = [0], []
    with epochs_shown(lambda: (num_done[0], "loss 1"), 3, lambda *progress: shown.append(progress)):
        num_done[0] = 3  # between two looks, which are seconds apart
    assert shown[-1] == (3, 3, "loss 1")


def test_a_training_that_failed_is_not_looked_at_again():
    shown = []
    with (
        pytest.raises(OSError, match="lost"),
        epochs_shown(lambda: (1, ""), 3, lambda *progress: shown.append(progress)),
    ):
        raise OSError("lost")
    assert shown == []
