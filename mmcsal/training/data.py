"""Clips from Parquet to batches, in an order that everyone agrees on.

The order of an epoch is a function of (seed, epoch) and of which samples lie in which partition: never of the number
of workers, of the listing order of the files or of the order of rows in them. Memory is bounded: partitions are
shuffled, rows are mixed within a window of neighbouring partitions, decoded partitions live in a bounded cache.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmcsal.contracts.clip import read_tensor
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.models.gray import gray_bytes

TENSORS = ("video", "audio")


@dataclass(frozen=True)
class ClipBatch:
    """One worker's rows of one global batch."""

    sample_ids: list[str]
    video_BTHWC: Tensor  # uint8, C = 3, or 1 where gray was asked for
    audio_BL: Tensor  # int16
    rows: slice  # which rows of the global batch these are
    global_batch_size: int


class OrderSpec(Protocol):
    """The part of `PretrainSpec` that reading needs."""

    @property
    def batch_size(self) -> int: ...
    @property
    def shuffle_buffer_bytes(self) -> int: ...
    @property
    def cache_bytes(self) -> int: ...


@dataclass(frozen=True)
class _Partition:
    """One file of the CLIP table: its rows in the order of their sample_id."""

    path: str
    sample_ids: np.ndarray  # str [n], sorted
    row_of: np.ndarray  # int64 [n], where each lies in the file


class ClipBatches:
    """A CLIP table as shuffled batches; also serves single clips by position or by lowest hash."""

    def __init__(
        self,
        files: Sequence[str],
        filesystem: pyarrow.fs.FileSystem,
        spec: OrderSpec,
        *,
        seed: int,
        num_workers: int = 1,
        gray: bool = False,
    ):
        """Reads the ids of all files, no tensors.

        Args:
            files: paths of the table's Parquet files on `filesystem`, in any order.
            gray: hand out frames with one channel, for encoders that look at gray only: a third of memory and work.
        Raises:
            InputError: fewer clips than two per worker.
            TableError: a file is no CLIP table, or the files hold different clip shapes.
        """
        self._filesystem, self._seed, self._gray = filesystem, seed, gray
        self._partitions, self.clip_bytes = _read_index(files, filesystem)
        self.num_clips = sum(len(p.sample_ids) for p in self._partitions)
        self.batch_size = _batch_size(spec.batch_size, self.num_clips, num_workers)
        self.steps_per_epoch = self.num_clips // self.batch_size
        self._window_clips = max(1, spec.shuffle_buffer_bytes // self.clip_bytes)
        self._cache = _Cache(spec.cache_bytes)

    def epoch(self, epoch: int, *, rank: int = 0, num_workers: int = 1, first_step: int = 0) -> Iterator[ClipBatch]:
        """This worker's batches of one epoch, from `first_step` on.

        The ragged end of the order is dropped; it holds other clips in every epoch.
        Raises: InputError: the batch cannot be cut into equal shares.
        """
        if self.batch_size % num_workers:
            raise InputError(f"training: a batch of {self.batch_size} cannot be cut into {num_workers} equal shares")
        share = self.batch_size // num_workers
        rows = slice(rank * share, (rank + 1) * share)
        order = self.order(epoch)
        for step in range(first_step, self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self._read(batch[rows], rows, self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """All clips of one epoch in order, int64 [N, 2]: (partition, clip within it)."""
        rng = np.random.default_rng((self._seed, epoch))
        windows = self._windows(rng.permutation(len(self._partitions)))
        return np.concatenate([rng.permutation(self._clips_of(window)) for window in windows])

    def lowest_hash(self, num_clips: int, *, chunk: int = 256) -> Iterator[ClipBatch]:
        """Up to `num_clips` clips of lowest hash of their id, in chunks: the same ones in every run over a corpus."""
        everything = self._clips_of(range(len(self._partitions)))
        ids = np.concatenate([p.sample_ids for p in self._partitions])
        chosen = everything[order_by_hash(ids)[:num_clips]]
        for first in range(0, len(chosen), chunk):
            part = chosen[first : first + chunk]
            yield self._read(part, slice(0, len(part)), len(part))

    def _windows(self, partitions: np.ndarray) -> list[list[int]]:
        """Neighbouring partitions, grouped as long as they fit into the shuffle buffer."""
        windows: list[list[int]] = []
        room = 0
        for index in partitions:
            size = len(self._partitions[index].sample_ids)
            if not windows or size > room:
                windows.append([])
                room = self._window_clips
            windows[-1].append(int(index))
            room -= size
        return windows

    def _clips_of(self, partitions: Sequence[int] | range) -> np.ndarray:
        sizes = [len(self._partitions[p].sample_ids) for p in partitions]
        return np.stack((np.repeat(list(partitions), sizes), np.concatenate([np.arange(n) for n in sizes])), axis=1)

    def _read(self, clips: np.ndarray, rows: slice, global_batch_size: int) -> ClipBatch:
        """The tensors of `clips` [B, 2], one visit per partition."""
        ids = [str(self._partitions[p].sample_ids[i]) for p, i in clips]
        out: list[np.ndarray] = []
        for partition in np.unique(clips[:, 0]):
            here = np.flatnonzero(clips[:, 0] == partition)
            tensors = self._tensors(int(partition))
            if not out:
                out = [np.empty((len(clips), *t.shape[1:]), t.dtype) for t in tensors]
            source = self._partitions[partition].row_of[clips[here, 1]]
            for target, tensor in zip(out, tensors, strict=True):
                target[here] = tensor[source]
        video, audio = out
        return ClipBatch(ids, torch.from_numpy(video), torch.from_numpy(audio), rows, global_batch_size)

    def _tensors(self, partition: int) -> tuple[np.ndarray, ...]:
        cached = self._cache.get(partition)
        if cached is None:
            table = _read_table(self._partitions[partition].path, self._filesystem, TENSORS)
            video, audio = (read_tensor(table, name) for name in TENSORS)
            cached = (gray_bytes(video) if self._gray else video, audio)
            self._cache.put(partition, cached)
        return cached


class _Cache:
    """Arrays of the partitions used last, up to a number of bytes; always holds at least the newest."""

    def __init__(self, max_bytes: int):
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._entries: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()

    def get(self, key: int) -> tuple[np.ndarray, ...] | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: int, arrays: tuple[np.ndarray, ...]) -> None:
        self._entries[key] = arrays
        self._num_bytes += _num_bytes(arrays)
        while self._num_bytes > self._max_bytes and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._num_bytes -= _num_bytes(dropped)


def _num_bytes(arrays: tuple[np.ndarray, ...]) -> int:
    return sum(a.nbytes for a in arrays)


def _batch_size(wanted: int, num_clips: int, num_workers: int) -> int:
    """`wanted`, or what a smaller corpus gives, in equal shares of at least two clips per worker."""
    batch_size = min(wanted, num_clips) // num_workers * num_workers
    if batch_size < 2 * num_workers:
        raise InputError(
            f"training: {num_clips} clips in batches of {wanted} give {num_workers} workers less than the two clips "
            f"each that a contrastive loss needs; ingest at least {2 * num_workers} clips or set fewer workers"
        )
    return batch_size


def _read_index(files: Sequence[str], filesystem: pyarrow.fs.FileSystem) -> tuple[list[_Partition], int]:
    """The partitions in the order of their first id, and the bytes of one clip."""
    partitions: list[_Partition] = []
    shapes: dict[tuple, str] = {}
    for path in files:
        ids = np.array(_read_table(path, filesystem, ("sample_id",))["sample_id"].to_pylist(), dtype=object)
        if len(ids) == 0:
            continue
        row_of = np.argsort(ids, kind="stable")
        partitions.append(_Partition(path, ids[row_of], row_of))
        shapes.setdefault(_clip_shape(path, filesystem), path)
    if len(shapes) > 1:
        raise TableError(f"clips: files hold different clip shapes, such as {list(shapes.values())[:2]}; ingest again")
    partitions.sort(key=lambda p: p.sample_ids[0])
    return partitions, sum(next(iter(shapes))) if shapes else 1


def _clip_shape(path: str, filesystem: pyarrow.fs.FileSystem) -> tuple[int, ...]:
    schema = pq.read_schema(path, filesystem=filesystem)
    for name in TENSORS:
        if name not in schema.names or not pa.types.is_fixed_size_binary(schema.field(name).type):
            raise TableError(f"{path}: no column {name!r} of fixed-size binary; expected a CLIP table")
    return tuple(schema.field(name).type.byte_width for name in TENSORS)


def _read_table(path: str, filesystem: pyarrow.fs.FileSystem, columns: Sequence[str]) -> pa.Table:
    try:
        return pq.read_table(path, filesystem=filesystem, columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{path}: cannot be read as a CLIP table ({error})") from error
