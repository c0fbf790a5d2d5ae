"""The errors a user can cause or mend; the exit code of a command follows from their class.

Every message says what was wrong, where (file, key, sample), what was expected and what to do.
"""

from mmcsal.redaction import redacted


def on_one_line(error: BaseException | str) -> str:
    """What an error of somebody else says, to stand within a line of ours, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))


# Of a message that lists all of a file's 20,000 columns, the begin says what was wrong and the end what to do.
_MAX_CHARACTERS, _LAST_CHARACTERS = 2000, 500


class MmcsalError(Exception):
    """Base of all errors that are written for the reader; shown as one line, without a traceback and secrets."""

    exit_code = 1

    def __str__(self) -> str:
        said = redacted(super().__str__())
        if len(said) <= _MAX_CHARACTERS:
            return said
        return f"{said[: _MAX_CHARACTERS - _LAST_CHARACTERS]} [...] {said[-_LAST_CHARACTERS:]}"


class InputError(MmcsalError):
    """Bad config, corpus or arguments."""

    exit_code = 2


class TableError(InputError):
    """A table does not keep its contract: wrong columns, types or values."""


class RejectLimitError(MmcsalError):
    """The share of rejected samples exceeds `max_reject_fraction`."""

    exit_code = 3


class ResourceError(MmcsalError):
    """The run asks for resources that the cluster can never give."""

    exit_code = 4
