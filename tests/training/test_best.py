import math

from mmcsal.training.best import BestEpoch, BestSpec


def course(values: list[float], spec: BestSpec) -> list[BestEpoch]:
    """The best epoch after each of these losses."""
    best, found = BestEpoch(), []
    for epoch, value in enumerate(values):
        best = best.after(epoch, {"eval_loss": value}, spec)
        found.append(best)
    return found


def test_the_best_epoch_is_the_one_of_the_smallest_loss():
    assert [b.epoch for b in course([3.0, 2.0, 2.5, 1.9, 1.9], BestSpec())] == [0, 1, 1, 3, 3]


def test_an_improvement_must_be_large_enough():
    assert [b.epoch for b in course([3.0, 2.95, 2.8], BestSpec(min_improvement=0.1))] == [0, 0, 2]


def test_training_ends_when_the_patience_is_spent_and_not_before():
    spec = BestSpec(patience_epochs=2)
    assert [b.ends_training(spec) for b in course([3.0, 3.1, 2.0, 2.1, 2.2], spec)] == [False] * 4 + [True]
    assert not any(b.ends_training(BestSpec()) for b in course([1.0, *[2.0] * 50], BestSpec()))


def test_a_loss_that_is_no_number_is_never_the_best():
    assert [b.epoch for b in course([math.nan, 3.0, math.nan], BestSpec())] == [-1, 1, 1]


def test_it_comes_back_from_its_state():
    best = course([3.0, 3.5], BestSpec())[-1]
    assert BestEpoch(**best.state()) == best
