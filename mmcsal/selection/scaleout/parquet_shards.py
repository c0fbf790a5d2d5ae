"""Which rows of which Parquet files make a shard, and reading them: every shard is as much as a task should read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from mmcsal.contracts.embedding import SUFFIX, modalities_of, read_vectors
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.selection.scaleout.shard import Shard
from mmcsal.storage.parquet_files import read_footers
from mmcsal.storage.tables import damaged, open_parquet
from mmcsal.storage.uri import is_of_service

# Of embeddings that a task reads. Ray hands results below 100 KB to the driver, where the pieces of all buckets
# together would be the whole pool: so shards are large, and small files share one. A row group is never split.
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 2**24, 2**28
NUM_SHARDS = 32  # of pools between these bounds
EXPECTED = (
    "write `sample_id` as strings, and `<modality>_embedding` as fixed_size_list<float> of one width in all files"
)


@dataclass(frozen=True)
class RowGroups:
    """Row groups of one Parquet file: the rows of a shard, or some of them."""

    path: str
    numbers: tuple[int, ...]
    modalities: tuple[str, str]
    filesystem: fs.FileSystem | None
    salt: str

    def read(self) -> Shard:
        """Reads the rows.

        Raises:
            TableError: a column is missing, of another type, or damaged; names the file.
        """
        columns = ["sample_id", *(f"{m}{SUFFIX}" for m in self.modalities)]
        try:
            with open_parquet(self.path, self.filesystem) as file:
                missing = [c for c in columns if c not in file.schema_arrow.names]
                if missing:
                    raise TableError(f"no columns {missing}; found {file.schema_arrow.names}")
                table = file.read_row_groups(list(self.numbers), columns=columns)
            vectors = [
                read_vectors(_without_nulls(table, c), m) for c, m in zip(columns[1:], self.modalities, strict=True)
            ]
            ids = pa.concat_arrays(table["sample_id"].cast(pa.string()).chunks or [pa.array([], pa.string())])
        except (TableError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            detail = str(error).removeprefix("embeddings: ")
            raise TableError(f"{self.path}: {detail}; {EXPECTED}") from error
        except OSError as error:
            if is_of_service(error):
                raise
            raise damaged(self.path, error) from error
        is_missing = [table[name].is_null().to_numpy() for name in columns[1:]]
        missing_2N = (is_missing[0], is_missing[1]) if any(m.any() for m in is_missing) else None
        names = (columns[1], columns[2])
        return Shard(self.path, ids, vectors[0], vectors[1], self.salt, names, missing_2N, self.modalities)


def shards_of(
    files: Sequence[str], filesystem: fs.FileSystem | None, modalities: tuple[str, str] | None, salt: str
) -> list[list[RowGroups]]:
    """The shards of a pool: runs of row groups of one file or more.

    Args:
        files: paths of Parquet files of the EMBEDDING schema, in the order in which they are read.
        modalities: the two to pair; None = those of the first file.

    Raises:
        InputError: the files hold other than two modalities.
        TableError: a file is not Parquet, or not whole.
    """
    footers = read_footers(files, filesystem)
    pair = modalities or _modalities(files[0], footers[0].schema)
    groups = [
        (path, number, num_bytes)
        for path, footer in zip(files, footers, strict=True)
        for number, num_bytes in enumerate(footer.group_bytes)
    ]
    max_bytes = shard_bytes(sum(num_bytes for _, _, num_bytes in groups))
    shards: list[dict[str, list[int]]] = [{}]
    filled = 0
    for path, number, num_bytes in groups:
        if filled and filled + num_bytes > max_bytes:
            shards.append({})
            filled = 0
        shards[-1].setdefault(path, []).append(number)
        filled += num_bytes
    return [
        [RowGroups(path, tuple(numbers), pair, filesystem, salt) for path, numbers in shard.items()]
        for shard in shards
        if shard
    ]


def shard_bytes(total_bytes: int) -> int:
    """How many bytes of embeddings a task reads, where files and row groups allow."""
    return min(max(total_bytes // NUM_SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def _without_nulls(table: pa.Table, name: str) -> pa.Table:
    """The table with zeros in place of a column's nulls: a flat array of a list column leaves null rows out."""
    column, place = table[name], table.column_names.index(name)
    if not column.null_count or not pa.types.is_fixed_size_list(column.type):
        return table
    zeros = pa.array([[0.0] * column.type.list_size], column.type)
    row_N = np.where(column.is_valid().to_numpy(), np.arange(len(column)), len(column))
    return table.set_column(place, name, pc.take(pa.chunked_array([*column.chunks, zeros]), pa.array(row_N)))


def _modalities(path: str, schema: pa.Schema) -> tuple[str, str]:
    found = modalities_of(schema)
    if len(found) != 2:
        raise InputError(f"{path}: modalities {found}; expected two, or name the two to pair")
    return found[0], found[1]
