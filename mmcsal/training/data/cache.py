"""Decoded clips in memory, up to a number of bytes."""

from collections import OrderedDict

import numpy as np

Arrays = tuple[np.ndarray, ...]


class ArrayCache:
    """The arrays that were used last, by a key; always holds at least the newest."""

    def __init__(self, max_bytes: int):
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._entries: OrderedDict[int, Arrays] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Of all arrays held."""
        return self._num_bytes

    def get(self, key: int) -> Arrays | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: int, arrays: Arrays) -> None:
        """Adds arrays under a new key, and drops those that were not used for longest."""
        self._entries[key] = arrays
        self._num_bytes += _bytes_of(arrays)
        while self._num_bytes > self._max_bytes and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._num_bytes -= _bytes_of(dropped)


def _bytes_of(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays)
