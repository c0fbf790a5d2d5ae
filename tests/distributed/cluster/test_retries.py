import errno

import pytest
from ray.exceptions import ActorDiedError, NodeDiedError, RayTaskError, WorkerCrashedError
from ray.train.v2.api.exceptions import WorkerGroupError

from mmcsal.contracts.errors import InputError
from mmcsal.distributed.cluster import retries
from mmcsal.distributed.cluster.retries import FAILURES_IN_A_ROW, is_loss, with_retries


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retries, "SECONDS_BEFORE_RETRY", 0.0)


class Work:
    """Fails as often as it is told, and commits a part before each failure where it is told to."""

    def __init__(self, *errors: Exception, commits: bool = False) -> None:
        self.errors, self.commits = list(errors), commits
        self.parts, self.num_runs = 0, 0

    def __call__(self) -> str:
        self.num_runs += 1
        if not self.errors:
            return "done"
        self.parts += self.commits
        raise self.errors.pop(0)


def of_task(cause: Exception) -> Exception:
    return RayTaskError("task", "Traceback ...", cause).as_instanceof_cause()


LOSSES = [
    WorkerCrashedError(),
    NodeDiedError("node"),
    ActorDiedError(),
    of_task(OSError(5, "I/O error")),
    OSError(5, "I/O error"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda error: type(error).__name__)
def test_a_loss_is_tried_again_and_told(loss):
    told: list[BaseException] = []
    work = Work(loss)
    assert with_retries(work, lambda: work.parts, told.append) == "done"
    assert told == [loss]


def test_days_on_spot_nodes_have_many_losses_as_long_as_each_try_commits_something():
    work = Work(*[NodeDiedError("node") for _ in range(5 * FAILURES_IN_A_ROW)], commits=True)
    assert with_retries(work, lambda: work.parts) == "done"


def test_three_tries_in_vain_are_enough():
    work = Work(*[NodeDiedError("node") for _ in range(5 * FAILURES_IN_A_ROW)])
    with pytest.raises(NodeDiedError):
        with_retries(work, lambda: work.parts)
    assert work.num_runs == FAILURES_IN_A_ROW + 1


@pytest.mark.parametrize(
    "error",
    [
        InputError("the budget is larger than the pool"),
        of_task(InputError("the budget is larger than the pool")),
        of_task(ValueError("a defect of ours")),
        of_task(OSError(errno.ENOSPC, "No space left on device")),
        ValueError("a defect of ours"),
    ],
    ids=["ours", "ours in a task", "a defect in a task", "full disk", "a defect"],
)
def test_what_would_end_the_same_is_not_tried_again(error):
    work = Work(error)
    with pytest.raises(type(error)):
        with_retries(work, lambda: work.parts)
    assert work.num_runs == 1


def test_what_a_training_worker_says_itself_is_no_loss():
    ours = InputError("too few clips")
    assert not is_loss(WorkerGroupError("training failed", {0: ours}))
    assert is_loss(WorkerGroupError("training failed", {0: WorkerCrashedError()}))
    assert not is_loss(WorkerGroupError("training failed", {0: OSError(errno.ENOSPC, "No space left on device")}))
