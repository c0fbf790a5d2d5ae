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


def places_of_hashes(hash_N: np.ndarray, among_C: np.ndarray) -> np.ndarray:
    """Where each hash stands in `among_C`, which holds none twice, int64 [N]; -1 = nowhere."""
    order_C = np.argsort(among_C)
    place_N = places_among_sorted(hash_N, among_C[order_C])
    # -1 stays -1: it picks the number that is put behind the last.
    return np.append(order_C, -1)[place_N]


def places_among_sorted(hash_N: np.ndarray, among_C: np.ndarray) -> np.ndarray:
    """`places_of_hashes` where `among_C` ascends: without sorting it first."""
    if not len(among_C):
        return np.full(len(hash_N), -1)
    place_N = np.minimum(np.searchsorted(among_C, hash_N), len(among_C) - 1)
    return np.where(among_C[place_N] == hash_N, place_N, -1)


def partitions_of(sample_ids: Iterable[str], num_partitions: int) -> np.ndarray:
    """The partition of each id, int64 [N] in [0, num_partitions)."""
    return (hash_ids(sample_ids) % np.uint64(num_partitions)).astype(np.int64)


def order_by_hash(sample_ids: Iterable[str]) -> np.ndarray:
    """Indices that sort ids by (hash, id), int64 [N]: a random-looking order that everyone agrees on."""
    ids = np.array(list(sample_ids), dtype=object)
    return np.lexsort((ids, hash_ids(ids)))
