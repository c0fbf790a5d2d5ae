"""A shard: the rows of a pool that one task reads, checked; and what tasks return of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.errors import TableError
from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.table import check_unique_ids
from mmcsal.selection.quantize import NOT_FINITE, ZERO, quantize, quantize_joint, row_faults

NUM_NAMED = 3  # ids that an error names


@dataclass(frozen=True)
class Shard:
    """Some rows of the pool, in any order."""

    name: str  # where the rows lie, for errors
    ids: pa.StringArray
    a_ND: np.ndarray  # float32
    v_ND: np.ndarray
    salt: str  # of the hash: another seed, another sample
    columns: tuple[str, str]  # what the two modalities are called, for errors

    @cached_property
    def hash_N(self) -> np.ndarray:
        """uint64; the order of samples and starts."""
        return hash_ids(self.ids.to_pylist(), salt=self.salt)

    def below(self, limit: int) -> np.ndarray:
        """The rows whose hash is at most `limit`, int64."""
        return np.flatnonzero(self.hash_N <= np.uint64(limit))


@dataclass(frozen=True)
class Survey:
    """What the first pass finds in a shard."""

    name: str
    hash_N: np.ndarray
    widths: tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """Rows of one shard whose hash is low, or that are labeled."""

    hash_N: np.ndarray
    joint_ND: np.ndarray
    anchor_hash_M: np.ndarray
    anchor_a_MD: np.ndarray
    anchor_v_MD: np.ndarray


def survey(shard: Shard) -> Survey:
    """Checks the rows of a shard and returns their hashes.

    Raises: TableError: repeated or null ids, values that are not finite, zero vectors; names the first ids.
    """
    if shard.ids.null_count:
        raise TableError(f"{shard.name}: column 'sample_id' has {shard.ids.null_count} nulls of {len(shard.ids)} rows")
    check_unique_ids(shard.ids, name=shard.name)
    for column, x_ND in zip(shard.columns, (shard.a_ND, shard.v_ND), strict=True):
        _check_vectors(shard, column, x_ND)
    return Survey(shard.name, shard.hash_N, (shard.a_ND.shape[1], shard.v_ND.shape[1]))


def gather(shard: Shard, anchor_limit: int, sample_limit: int, labeled_hash_L: np.ndarray) -> Sample:
    """The rows of low hash, quantised, and the labeled rows."""
    wanted_N = (shard.hash_N <= np.uint64(sample_limit)) | np.isin(shard.hash_N, labeled_hash_L)
    rows, anchors = np.flatnonzero(wanted_N), shard.below(anchor_limit)
    return Sample(
        shard.hash_N[rows],
        quantize_joint(shard.a_ND[rows], shard.v_ND[rows]),
        shard.hash_N[anchors],
        quantize(shard.a_ND[anchors]),
        quantize(shard.v_ND[anchors]),
    )


def ids_of(shard: Shard, hash_H: np.ndarray) -> list[str]:
    """The ids that have these hashes (for errors)."""
    return shard.ids.filter(pa.array(np.isin(shard.hash_N, hash_H))).to_pylist()


def merge_samples(samples: list[Sample]) -> Sample:
    """One sample, each part sorted by hash."""
    parts = [
        np.concatenate([getattr(s, name) for s in samples])
        for name in ("hash_N", "joint_ND", "anchor_hash_M", "anchor_a_MD", "anchor_v_MD")
    ]
    by_hash, by_anchor_hash = np.argsort(parts[0]), np.argsort(parts[2])
    return Sample(*(p[by_hash] for p in parts[:2]), *(p[by_anchor_hash] for p in parts[2:]))


def _check_vectors(shard: Shard, column: str, x_ND: np.ndarray) -> None:
    faults_N = row_faults(x_ND)
    for fault, what in ((NOT_FINITE, "NaN or infinite values"), (ZERO, "a zero vector, which has no direction")):
        rows = np.flatnonzero(faults_N == fault)
        if len(rows):
            first = pc.take(shard.ids, pa.array(rows[:NUM_NAMED])).to_pylist()
            raise TableError(
                f"{shard.name}: {len(rows)} of {len(x_ND)} rows have {what} in {column!r}, first sample_ids {first}; "
                "embed these samples again or leave them out"
            )
