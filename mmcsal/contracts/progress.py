"""How whatever takes long says how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with the units that are done, those known so far, and what to say of the last one."""

    def __call__(self, num_done: int, num_total: int, note: str = "") -> None: ...
