"""What is inside the errors that Ray wraps around those of its workers."""

import click
from ray.exceptions import RayTaskError

from mmcsal.contracts.errors import MmcsalError


def mmcsal_error_in(error: BaseException | None) -> MmcsalError | None:
    """Our own error, if there is one in what was raised or in what led to it."""
    seen: set[int] = set()
    ahead = [error]
    while ahead:
        error = ahead.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        # Ray's wrapper of a task's error is an instance of the error's own class too, with the trace in its message.
        if isinstance(error, MmcsalError) and not isinstance(error, RayTaskError):
            return error
        ahead += [*_wrapped(error), error.__cause__, error.__context__]
    return None


def cause_of(error: BaseException) -> BaseException:
    """What a task of Ray or a worker of Ray Train raised, out of all of Ray's wrappers."""
    while wrapped := _wrapped(error):
        error = wrapped[0]
    return error


def first_line_of(error: BaseException) -> str:
    """What an error says, in one line and without the colours that Ray puts in."""
    lines = click.unstyle(str(cause_of(error))).strip().splitlines()
    return lines[0] if lines else ""


def _wrapped(error: BaseException) -> list[BaseException]:
    # Ray Train keeps what its workers raised beside the error that it raises itself.
    inside = [getattr(error, "cause", None), *getattr(error, "worker_failures", {}).values()]
    return [cause for cause in inside if isinstance(cause, BaseException)]
