"""Which clips there are and in which file each lies: ids, no tensors."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.fs

from mmcsal.contracts.errors import TableError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.training.data.clip_file import read_columns, tensor_bytes

INDEX_THREADS = 16  # a store answers many small reads at a time


@dataclass(frozen=True)
class Partition:
    """One file of the CLIP table: its clips that are wanted, in the order of their sample_id."""

    path: str
    sample_id_N: np.ndarray  # str, sorted
    row_N: np.ndarray  # int64, where each lies in the file

    def __len__(self) -> int:
        return len(self.sample_id_N)


@dataclass(frozen=True)
class ClipIndex:
    """All clips, partition by partition, the partitions in the order of their first id."""

    partitions: tuple[Partition, ...]
    clip_bytes: int  # of one clip, all its tensors

    @cached_property
    def sizes(self) -> list[int]:
        """Clips of each partition."""
        return [len(partition) for partition in self.partitions]

    @property
    def num_clips(self) -> int:
        return sum(self.sizes)

    @property
    def sample_id_N(self) -> np.ndarray:
        """All ids, str."""
        return np.concatenate([p.sample_id_N for p in self.partitions]) if self.partitions else np.empty(0, object)

    @cached_property
    def by_hash_N(self) -> np.ndarray:
        """All clips, partitions by the hash of their first id and clips by their own: indices into `sample_id_N`."""
        if not self.partitions:
            return np.empty(0, dtype=np.int64)
        first = np.cumsum([0, *self.sizes])
        order = order_by_hash(partition.sample_id_N[0] for partition in self.partitions)
        return np.concatenate([first[p] + order_by_hash(self.partitions[p].sample_id_N) for p in order])

    def where(self, is_wanted_N: np.ndarray) -> list[np.ndarray]:
        """Of each partition, the places of the wanted clips within it."""
        return [np.flatnonzero(part) for part in np.split(is_wanted_N, np.cumsum(self.sizes)[:-1])]


def read_index(
    files: Sequence[str], filesystem: pyarrow.fs.FileSystem, only: Collection[str] | None = None
) -> ClipIndex:
    """The clips of `files`, which may be listed in any order, or those of them whose ids are in `only`.

    Raises:
        TableError: a file is no CLIP table, or the files hold different clip shapes.
    """
    wanted = None if only is None else set(only)
    partitions: list[Partition] = []
    path_of_shape: dict[tuple[int, ...], str] = {}
    with ThreadPoolExecutor(INDEX_THREADS) as pool:
        for partition, shape in pool.map(lambda path: _read_partition(path, filesystem, wanted), files):
            if len(partition):
                partitions.append(partition)
                path_of_shape.setdefault(shape, partition.path)
    if len(path_of_shape) > 1:
        some = list(path_of_shape.values())[:2]
        raise TableError(f"clips: files hold different clip shapes, such as {some}; ingest again")
    partitions.sort(key=lambda p: p.sample_id_N[0])
    return ClipIndex(tuple(partitions), sum(next(iter(path_of_shape), (1,))))


def _read_partition(
    path: str, filesystem: pyarrow.fs.FileSystem, wanted: set[str] | None
) -> tuple[Partition, tuple[int, ...]]:
    """The wanted clips of a file, and the bytes of each tensor of a clip."""
    table = read_columns(path, filesystem, ("sample_id",))
    sample_id_N = np.array(table["sample_id"].to_pylist(), dtype=object)
    row_N = np.argsort(sample_id_N, kind="stable")
    if wanted is not None:
        row_N = row_N[[sample_id in wanted for sample_id in sample_id_N[row_N]]]
    return Partition(path, sample_id_N[row_N], row_N), tensor_bytes(path, filesystem)
