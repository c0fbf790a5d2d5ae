"""What Ray does not recover from by itself: the same work once more, with all that is committed left out."""

import errno
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ray import exceptions
from ray.train import TrainingFailedError

from mmcsal.distributed.cluster.errors import cause_of, mmcsal_error_in

# Days on spot nodes have many failures; only those count that follow each other without anything new committed.
FAILURES_IN_A_ROW = 3
SECONDS_BEFORE_RETRY = 2.0
LOSSES = (
    TrainingFailedError,
    exceptions.WorkerCrashedError,
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.RaySystemError,
    exceptions.RpcError,
    exceptions.OutOfMemoryError,
    exceptions.TaskPlacementGroupRemoved,
    exceptions.ActorPlacementGroupRemoved,
)

Result = TypeVar("Result")
OnRetry = Callable[[BaseException], None]


def with_retries(run: Callable[[], Result], committed: Callable[[], Any], on_retry: OnRetry | None = None) -> Result:
    """Runs; and again, when workers, nodes, objects or the storage were lost.

    Args:
        committed: anything that changes when work has been committed that the next try will leave out.
        on_retry: called with the loss before each new try.

    Raises what `run` raised: at once if the next try would end the same, else after three tries in a row in vain.
    """
    in_a_row = 0
    while True:
        before = committed()
        try:
            return run()
        except Exception as error:
            in_a_row = 1 if committed() != before else in_a_row + 1
            if not is_loss(error) or in_a_row > FAILURES_IN_A_ROW:
                raise
            if on_retry is not None:
                on_retry(error)
            time.sleep(SECONDS_BEFORE_RETRY)


def is_loss(error: BaseException) -> bool:
    """Whether the cluster or the storage failed, so that another try may go well. What we say ourselves is no loss."""
    if mmcsal_error_in(error) is not None:
        return False
    cause = cause_of(error)
    if isinstance(cause, OSError):
        return cause.errno != errno.ENOSPC
    return isinstance(error, LOSSES) or isinstance(cause, LOSSES)
