"""What the cells of a bag proposed, kept in the run directory until the selection is committed.

A killed selection reads its embeddings again, makes the same plan, and goes on with the bags that are missing. Files
are named by what they depend on, so those of other settings or other embeddings are never taken for these.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from mmcsal.rundir import RunDir
from mmcsal.selection.bag import Candidates

FOLDER = ".select-bags"


@dataclass(frozen=True)
class Store:
    """Where the bags of a selection are kept."""

    run_dir: RunDir
    settings: str  # of the stage and of all before it

    def scope(self, step: Callable[..., Any], common: tuple) -> "StoredStep":
        """The files of one step with these arguments."""
        told = pickle.dumps((step.__name__, self.settings, common), protocol=5)
        digest = blake2b(told, digest_size=12).hexdigest()
        return StoredStep(self.run_dir, f"{FOLDER}/{digest}")

    def clear(self) -> None:
        """Removes all of them."""
        self.run_dir.clear(FOLDER)


@dataclass(frozen=True)
class StoredStep:
    """The files of one step, one a bag."""

    run_dir: RunDir
    folder: str

    def has(self, bag: int) -> bool:
        return self.run_dir.exists(self.folder, _name(bag))

    def read(self, bag: int) -> Candidates:
        table = self.run_dir.read_part(self.folder, _name(bag))
        ids, *arrays = (table[name].combine_chunks() for name in table.column_names)
        return Candidates(
            pa.concat_arrays(ids.chunks) if isinstance(ids, pa.ChunkedArray) else ids,
            **{n: a.to_numpy(zero_copy_only=False) for n, a in zip(table.column_names[1:], arrays, strict=True)},
        )

    def write(self, bag: int, candidates: Candidates) -> None:
        self.run_dir.write_part(self.folder, _name(bag), pa.table(vars(candidates)))


def _name(bag: int) -> str:
    return f"bag-{bag:05d}.parquet"
