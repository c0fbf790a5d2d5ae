"""Stable hashes of sample ids: the one source of partitions, samples and tie-breaks.

Nothing depends on the number of workers, on row order or on Python's own (salted) hash.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def hash_id(sample_id: str, *, salt: str = "") -> int:
    """64-bit hash of one id; a different `salt` gives an independent hash."""
    return int(hash_ids([sample_id], salt=salt)[0])


def hash_ids(sample_ids: Iterable[str], *, salt: str = "") -> np.ndarray:
    """64-bit hashes, uint64 [N], in the order of `sample_ids`."""
    keyed, digests = blake2b(digest_size=8, key=salt.encode()).copy, []  # a copy is cheaper than another key
    for sample_id in sample_ids:
        state = keyed()
        state.update(sample_id.encode())
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def partitions_of(sample_ids: Iterable[str], num_partitions: int) -> np.ndarray:
    """The partition of each id, int64 [N] in [0, num_partitions)."""
    return (hash_ids(sample_ids) % np.uint64(num_partitions)).astype(np.int64)


def order_by_hash(sample_ids: Iterable[str]) -> np.ndarray:
    """Indices that sort ids by (hash, id), int64 [N]: a random-looking order that everyone agrees on."""
    ids = np.array(list(sample_ids), dtype=object)
    return np.lexsort((ids, hash_ids(ids)))
