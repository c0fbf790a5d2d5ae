"""A shard: the rows of a pool that one task reads, checked and quantised once; and what tasks return of it."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.errors import TableError
from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.reject import Reason
from mmcsal.contracts.table import check_unique_ids
from mmcsal.selection.numerics.quantize import NOT_FINITE, OK, ZERO, quantize_joint, row_faults

NUM_NAMED = 3  # ids that an error names
MISSING = 3  # fault of a row without a vector
FAULTS = {
    MISSING: (Reason.MISSING_MODALITY, "no vector"),
    NOT_FINITE: (Reason.NOT_FINITE, "NaN or infinite values"),
    ZERO: (Reason.ZERO_VECTOR, "a zero vector, which has no direction,"),
}


@dataclass(frozen=True)
class Shard:
    """Some rows of the pool as they were read, in any order."""

    name: str  # where the rows lie, for errors
    ids: pa.StringArray
    a_ND: np.ndarray  # float32
    v_ND: np.ndarray
    salt: str  # of the hash: another seed, another sample
    columns: tuple[str, str]  # what the two modalities are called, for errors
    is_missing_2N: tuple[np.ndarray, np.ndarray] | None = None  # rows that have no vector of a modality; None = none
    modalities: tuple[str, str] = ("a", "v")  # what they are called in settings and explanations


@dataclass(frozen=True)
class Rows:
    """The rows of a shard as selection works on them."""

    ids: pa.StringArray
    salt: str
    joint_ND: np.ndarray  # quantised, int16
    width_a: int  # columns of the first modality

    @cached_property
    def hash_N(self) -> np.ndarray:
        """uint64; the order of samples and starts."""
        return hash_ids(self.ids.to_pylist(), salt=self.salt)

    def below(self, limit: int) -> np.ndarray:
        """The rows whose hash is at most `limit`, int64."""
        return np.flatnonzero(self.hash_N <= np.uint64(limit))


@dataclass(frozen=True)
class BadRow:
    """A row that was left out."""

    sample_id: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ShardSummary:
    """What the first pass finds in a shard."""

    name: str
    hash_N: np.ndarray
    widths: tuple[int, int]
    modalities: tuple[str, str]
    bad_rows: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class PoolSample:
    """Rows whose hash is low, or that are labeled."""

    hash_N: np.ndarray
    joint_ND: np.ndarray


def prepare(shard: Shard, bad_rows: str) -> tuple[Rows, ShardSummary]:
    """Checks the rows of a shard and quantises them: the one time that its embeddings are read.

    Args:
        bad_rows: `error`, or `reject` to leave rows out whose vectors are missing, zero or not finite.

    Raises:
        TableError: repeated or null ids; bad vectors, unless they are rejected; names the first ids.
    """
    if shard.ids.null_count:
        raise TableError(f"{shard.name}: column 'sample_id' has {shard.ids.null_count} nulls of {len(shard.ids)} rows")
    check_unique_ids(shard.ids, name=shard.name)
    faults_2N = [_faults(shard, m) for m in range(2)]
    bad = []
    for column, faults_N in zip(shard.columns, faults_2N, strict=True):
        bad += _bad_rows(shard, column, faults_N, bad_rows)
    widths = (shard.a_ND.shape[1], shard.v_ND.shape[1])
    kept = np.flatnonzero((faults_2N[0] == OK) & (faults_2N[1] == OK))
    ids, a_ND, v_ND = shard.ids, shard.a_ND, shard.v_ND
    if len(kept) < len(ids):
        ids, a_ND, v_ND = pc.take(ids, pa.array(kept, pa.int64())), a_ND[kept], v_ND[kept]
    rows = Rows(ids, shard.salt, quantize_joint(a_ND, v_ND), widths[0])
    return rows, ShardSummary(shard.name, rows.hash_N, widths, shard.modalities, bad)


def concat_rows(parts: list[Rows]) -> Rows:
    """All rows of several parts of one width; at least one part."""
    joint_ND = np.concatenate([rows.joint_ND for rows in parts])
    return Rows(pa.concat_arrays([rows.ids for rows in parts]), parts[0].salt, joint_ND, parts[0].width_a)


def gather(rows: Rows, limit: int, labeled_hash_L: np.ndarray) -> PoolSample:
    """The rows of low hash and the labeled rows."""
    wanted = np.flatnonzero((rows.hash_N <= np.uint64(limit)) | np.isin(rows.hash_N, labeled_hash_L))
    return PoolSample(rows.hash_N[wanted], rows.joint_ND[wanted])


def ids_of(rows: Rows, hash_R: np.ndarray) -> list[str]:
    """The ids that have these hashes (for errors)."""
    return rows.ids.filter(pa.array(np.isin(rows.hash_N, hash_R))).to_pylist()


def merge_samples(samples: list[PoolSample]) -> PoolSample:
    """One sample, sorted by hash."""
    hash_N, joint_ND = np.concatenate([s.hash_N for s in samples]), np.concatenate([s.joint_ND for s in samples])
    order = np.argsort(hash_N)
    return PoolSample(hash_N[order], joint_ND[order])


def _faults(shard: Shard, modality: int) -> np.ndarray:
    faults_N = row_faults((shard.a_ND, shard.v_ND)[modality])
    if shard.is_missing_2N is not None:
        faults_N[shard.is_missing_2N[modality]] = MISSING
    return faults_N


def _bad_rows(shard: Shard, column: str, faults_N: np.ndarray, bad_rows: str) -> list[BadRow]:
    found = []
    for fault, (reason, what) in FAULTS.items():
        rows = np.flatnonzero(faults_N == fault)
        if not len(rows):
            continue
        ids = pc.take(shard.ids, pa.array(rows, pa.int64())).to_pylist()
        if bad_rows == "error":
            raise TableError(
                f"{shard.name}: {len(rows)} of {len(faults_N)} rows have {what} in {column!r}, first sample_ids "
                f"{ids[:NUM_NAMED]}; embed these samples again, leave them out, or set select.bad_rows=reject"
            )
        found += [BadRow(i, reason, f"{column} has {what.rstrip(',')} in {shard.name}") for i in ids]
    return found
