"""The base of what works on partitions in an actor of Ray Data; loads neither torch nor config."""

import pickle
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from mmcsal.contracts.errors import MmcsalError


class PartitionWorker(ABC):
    """Made once in each actor, then called with one partition after another."""

    @abstractmethod
    def run(self, part: str) -> None:
        """Does the work of a partition and commits it.

        Raises: MmcsalError, OSError: come out of `raise_told` in the driver.
        """

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A receipt for each partition, with what is wrong: Ray Data keeps only the text of what it sees raised."""
        errors = [self._error_of(str(part)) for part in batch["part"]]
        return {"part": batch["part"], "error": np.array(errors, dtype=object)}

    def _error_of(self, part: str) -> bytes:
        try:
            self.run(part)
        except (MmcsalError, OSError) as error:
            return pickle.dumps(error)
        return b""


def raise_told(receipt: dict[str, Any]) -> None:
    """Raises what a worker said is wrong with its partition."""
    if receipt["error"]:
        raise pickle.loads(receipt["error"])
