"""Where Python code may come from: never from the folder that a command is called in, since that one holds data."""

import os
import sys
from pathlib import Path

CODE = str(Path(__file__).parents[1])  # where this package lies; a checkout may be the working folder


def is_trusted(entry: str) -> bool:
    """Whether an entry of `sys.path` is no name for the working folder, or that folder is where mmcsal itself lies."""
    try:
        place = os.path.abspath(entry)
        return place == CODE or (os.path.isabs(entry) and place != os.getcwd())
    except FileNotFoundError:  # the working folder was removed
        return os.path.isabs(entry)


def leave_working_folder_out() -> None:
    """Takes the working folder off `sys.path` of this process, and of all Python processes that it starts.

    A `decord.py` or `math.py` beside the videos would be imported in the place of the package.
    """
    sys.path[:] = filter(is_trusted, sys.path)
    os.environ["PYTHONSAFEPATH"] = "1"
