"""Sample ids: as callers may give them; and their stable hashes, the one source of partitions, samples, tie-breaks.

Nothing depends on the number of workers, on row order or on Python's own (salted) hash.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np

from mmcsal.contracts.errors import InputError


def as_ids(given: Iterable[Any], *, what: str) -> list[str]:
    """Ids as tables hold them: strings as they are, integers (of Python, numpy, ...) as their decimal digits.

    Raises:
        InputError: they are neither, or a mixture, where 7 and "7" would be one id; `what` stands in the error.
    """
    if isinstance(given, str | bytes):
        raise InputError(f"{what}: {given!r} is one {type(given).__name__}, expected a list of ids")
    ids: list[Any] = getattr(given, "tolist", lambda: list(given))()
    if all(map(_is_text, {*map(type, ids)})):
        return ids
    is_fitting = _is_text if _is_text(type(ids[0])) else _is_integer
    for sample_id in ids:
        kind = type(sample_id)
        if not is_fitting(kind):
            raise InputError(f"{what}: {sample_id!r} is of type {kind.__name__}; expected all strings or all integers")
    return [str(int(sample_id)) for sample_id in ids]


def as_id(given: Any, *, what: str) -> str:
    """One id, as in `as_ids`."""
    kind = type(given)
    if _is_text(kind):
        return str(given)
    if _is_integer(kind):
        return str(int(given))
    raise InputError(f"{what}: {given!r} is of type {kind.__name__}; expected an id, a string or an integer")


def _is_text(kind: type) -> bool:
    return issubclass(kind, str)


def _is_integer(kind: type) -> bool:
    return issubclass(kind, int | np.integer) and kind is not bool


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
