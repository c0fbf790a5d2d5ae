"""What the cells of a bucket proposed, kept in the run directory until the selection is committed.

A killed selection reads its embeddings again, makes the same plan, and goes on with the buckets that are missing. Files
are named by what they depend on, so those of other settings or other embeddings are never taken for these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from mmcsal.selection.scaleout.buckets import Candidates
from mmcsal.storage.rundir import RunDir

FOLDER = ".select-buckets"


@dataclass(frozen=True)
class Store:
    """Where the buckets of a selection are kept."""

    run_dir: RunDir
    settings: str  # of the stage and of all before it

    def scope(self, step: Callable[..., Any], common: tuple) -> "StoredStep":
        """The files of one step with these arguments."""
        return StoredStep(self.run_dir, f"{FOLDER}/{digest((step.__name__, self.settings, common))}")

    def clear(self) -> None:
        """Removes all of them."""
        self.run_dir.clear(FOLDER)


@dataclass(frozen=True)
class StoredStep:
    """The files of one step, one a bucket."""

    run_dir: RunDir
    folder: str

    def has(self, bucket: int) -> bool:
        return self.run_dir.exists(self.folder, _name(bucket))

    def read(self, bucket: int) -> Candidates:
        table = self.run_dir.read_part(self.folder, _name(bucket))
        ids, *arrays = (table[name].combine_chunks() for name in table.column_names)
        return Candidates(
            pa.concat_arrays(ids.chunks) if isinstance(ids, pa.ChunkedArray) else ids,
            **{n: a.to_numpy(zero_copy_only=False) for n, a in zip(table.column_names[1:], arrays, strict=True)},
        )

    def write(self, bucket: int, candidates: Candidates) -> None:
        self.run_dir.write_part(self.folder, _name(bucket), pa.table(vars(candidates)))


def digest(value: Any) -> str:
    """The same for equal arguments of a step in every process.

    A pickle is not: it holds the set of fields that a specification was given, whose order Python salts anew in every
    process, and it knows which of two equal objects are one.
    """
    hasher = blake2b(digest_size=12)
    for part in _parts(value):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, BaseModel):
        yield value.model_dump_json().encode()
    elif is_dataclass(value):
        for field in fields(value):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item)
    elif value is None or isinstance(value, str | bool | int | float | np.integer | np.floating):
        yield repr(value).encode()
    else:
        raise TypeError(f"no digest of {type(value).__name__}")


def _name(bucket: int) -> str:
    return f"bucket-{bucket:05d}.parquet"
