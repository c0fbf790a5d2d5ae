"""Clips from Parquet to batches, in an order that everyone agrees on.

The order of an epoch is a function of (seed, epoch) and of which samples lie in which partition: never of the number
of workers, of the listing order of the files or of the order of rows in them. Partitions are shuffled and their clips
cut into equal *lanes*; each lane fills its own rows of every batch, and a worker reads the lanes of its rows alone,
so that all workers together read the corpus once an epoch. Memory is bounded: a lane mixes its clips within a window
of neighbouring partitions, and what has been read lives in a bounded cache.

Source: MosaicML Streaming (canonical nodes) for the idea of an order that a fixed number of lanes makes elastic.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmcsal.contracts.clip import read_tensor
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.models.encoders.video.gray import gray_bytes
from mmcsal.storage.uri import is_of_service
from mmcsal.training.batch_spec import BatchSpec

TENSORS = ("video", "audio")
INDEX_THREADS = 16  # a store answers many small reads at a time


@dataclass(frozen=True)
class ClipBatch:
    """One worker's rows of one global batch."""

    sample_ids: list[str]
    video_BTHWC: Tensor  # uint8, C = 3, or 1 where gray was asked for
    audio_BL: Tensor  # int16
    rows: slice  # which rows of the global batch these are
    global_batch_size: int


@dataclass(frozen=True)
class _Partition:
    """One file of the CLIP table: its rows that are wanted, in the order of their sample_id."""

    path: str
    sample_ids: np.ndarray  # str [n], sorted
    row_of: np.ndarray  # int64 [n], where each lies in the file

    def __len__(self) -> int:
        return len(self.sample_ids)


class ClipBatches:
    """A CLIP table, or some of its clips, as shuffled batches; also serves a fixed sample of them, or all."""

    def __init__(
        self,
        files: Sequence[str],
        filesystem: pyarrow.fs.FileSystem,
        spec: BatchSpec,
        *,
        seed: int,
        num_workers: int = 1,
        gray: bool = False,
        only: Collection[str] | None = None,
        held_out: Collection[str] = (),
    ):
        """Reads the ids of all files, no tensors.

        Args:
            files: paths of the table's Parquet files on `filesystem`, in any order.
            gray: hand out frames with one channel, for encoders that look at gray only: a third of memory and work.
            only: the ids of the clips to serve; of the files' others nothing is kept in memory. None = all.
            held_out: ids of clips that no epoch holds, besides those that the spec holds out.
        Raises:
            InputError: fewer clips than two per worker.
            TableError: a file is no CLIP table, or the files hold different clip shapes.
        """
        self._filesystem, self._seed, self._gray = filesystem, seed, gray
        self._section = spec.section
        self._partitions, self.clip_bytes = _read_index(files, filesystem, only)
        self.num_clips = sum(len(p) for p in self._partitions)
        self._sample_order = _sample_order(self._partitions)
        is_trained_N = self._is_trained(spec, held_out)
        self._trained, self._held_out = (self._by_partition(rows_N) for rows_N in (is_trained_N, ~is_trained_N))
        num_trained = sum(len(rows) for rows in self._trained)
        self.batch_size, self.num_lanes = _batch_and_lanes(spec, num_trained, num_workers)
        self.steps_per_epoch = num_trained // self.num_lanes // (self.batch_size // self.num_lanes)
        self._window_clips = max(1, spec.shuffle_buffer_bytes // self.clip_bytes // self.num_lanes)
        # What a worker's lanes mix at a time stays in memory, or each step would read it again.
        largest = max(len(p) for p in self._partitions)
        needed_clips = self.num_lanes // num_workers * (self._window_clips + 2 * largest)
        self._cache = _Cache(max(spec.cache_bytes, needed_clips * self.clip_bytes))

    @property
    def sample_ids(self) -> np.ndarray:
        """All ids, str [N], partition by partition."""
        return np.concatenate([p.sample_ids for p in self._partitions]) if self._partitions else np.empty(0, object)

    def epoch(self, epoch: int, *, rank: int = 0, num_workers: int = 1, first_step: int = 0) -> Iterator[ClipBatch]:
        """This worker's batches of one epoch, from `first_step` on.

        The ragged end of each lane is dropped; it holds other clips in every epoch.
        Raises: InputError: the batch cannot be cut into equal shares of whole lanes.
        """
        if self.num_lanes % num_workers:
            raise InputError(
                f"training: {self.num_lanes} lanes of a batch of {self.batch_size} cannot be shared by {num_workers} "
                f"workers; set {self._section}.num_lanes to a multiple of them"
            )
        share = self.batch_size // num_workers
        rows = slice(rank * share, (rank + 1) * share)
        order = self.order(epoch)
        for step in range(first_step, self.steps_per_epoch):
            yield self._read(order[step, rows], rows, self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The clips of one epoch, int64 [steps, B, 2]: (partition, clip within it)."""
        rng = np.random.default_rng((self._seed, epoch))
        clips = self._clips_of(rng.permutation(len(self._partitions)))
        lanes = [self._shuffled(lane, rng) for lane in np.array_split(clips, self.num_lanes)]
        share = self.batch_size // self.num_lanes
        kept = np.stack([lane[: self.steps_per_epoch * share] for lane in lanes])
        by_step = kept.reshape(self.num_lanes, self.steps_per_epoch, share, 2).swapaxes(0, 1)
        return by_step.reshape(self.steps_per_epoch, self.batch_size, 2)

    def fixed_sample(self, num_clips: int, *, chunk: int = 256) -> Iterator[ClipBatch]:
        """Up to `num_clips` clips, in chunks: the same ones in every run over a corpus.

        They fill whole partitions (each is a random part of the corpus, as ids are dealt out by hash), so that a sample
        of a large corpus reads a few files.
        """
        return self._chunks(self._everything()[self._sample_order[:num_clips]], chunk)

    def share_of_all(self, rank: int, num_workers: int, *, chunk: int = 256) -> Iterator[ClipBatch]:
        """This worker's clips, in chunks, when all clips are cut into neighbouring, nearly equal shares."""
        return self._chunks(np.array_split(self._everything(), num_workers)[rank], chunk)

    def share_of_held_out(self, rank: int, num_workers: int, *, chunk: int = 256) -> Iterator[ClipBatch]:
        """As `share_of_all`, of the clips that no epoch holds."""
        clips = _pairs(np.arange(len(self._partitions)), self._held_out)
        return self._chunks(np.array_split(clips, num_workers)[rank], chunk)

    @property
    def held_out_ids(self) -> list[str]:
        """The ids of the clips that no epoch holds, in the order of their shares."""
        return [str(i) for p, rows in zip(self._partitions, self._held_out, strict=True) for i in p.sample_ids[rows]]

    def sample_ids_of_share(self, rank: int, num_workers: int) -> np.ndarray:
        """The ids of `share_of_all`, in its order."""
        return np.array_split(self.sample_ids, num_workers)[rank]

    def _chunks(self, clips: np.ndarray, size: int) -> Iterator[ClipBatch]:
        for first in range(0, len(clips), size):
            part = clips[first : first + size]
            yield self._read(part, slice(0, len(part)), len(part))

    def _is_trained(self, spec: BatchSpec, held_out: Collection[str]) -> np.ndarray:
        """Whether training sees each clip, bool [N] in the order of `sample_ids`."""
        if self.num_clips < 2 * spec.num_held_out:
            raise InputError(
                f"training: pretrain.hold_out_eval would take {spec.num_held_out} of {self.num_clips} clips; "
                f"set pretrain.eval_samples to {self.num_clips // 2} or less"
            )
        apart = set(held_out)
        is_trained_N = np.array([sample_id not in apart for sample_id in self.sample_ids], dtype=bool)
        is_trained_N[self._sample_order[: spec.num_held_out]] = False
        return is_trained_N

    def _by_partition(self, is_wanted_N: np.ndarray) -> list[np.ndarray]:
        """Of each partition, the wanted clips."""
        cuts = np.cumsum([len(p) for p in self._partitions])[:-1]
        return [np.flatnonzero(part) for part in np.split(is_wanted_N, cuts)]

    def _shuffled(self, lane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The clips of a lane, mixed within windows of neighbouring partitions that fit into its shuffle buffer."""
        begins = np.concatenate(([0], np.flatnonzero(np.diff(lane[:, 0])) + 1, [len(lane)]))
        cuts, begin = [], 0
        for first, last in pairwise(begins):
            if last - begin > self._window_clips and first > begin:
                cuts.append(first)
                begin = first
        return np.concatenate([rng.permutation(window) for window in np.split(lane, cuts)])

    def _clips_of(self, partitions: np.ndarray) -> np.ndarray:
        """The clips that training sees of some partitions, one partition after the other, int64 [N, 2]."""
        return _pairs(partitions, [self._trained[p] for p in partitions])

    def _everything(self) -> np.ndarray:
        """All clips in the order of `sample_ids`, int64 [N, 2]."""
        return _pairs(np.arange(len(self._partitions)), [np.arange(len(p)) for p in self._partitions])

    def _read(self, clips: np.ndarray, rows: slice, global_batch_size: int) -> ClipBatch:
        """The tensors of `clips` [B, 2], one visit per partition."""
        ids = [str(self._partitions[p].sample_ids[i]) for p, i in clips]
        out: list[np.ndarray] = []
        for partition in np.unique(clips[:, 0]):
            here = np.flatnonzero(clips[:, 0] == partition)
            tensors = self._tensors(int(partition))
            if not out:
                out = [np.empty((len(clips), *t.shape[1:]), t.dtype) for t in tensors]
            for target, tensor in zip(out, tensors, strict=True):
                target[here] = tensor[clips[here, 1]]
        video, audio = out
        return ClipBatch(ids, torch.from_numpy(video), torch.from_numpy(audio), rows, global_batch_size)

    def _tensors(self, partition: int) -> tuple[np.ndarray, ...]:
        """The clips of a partition, in its order."""
        cached = self._cache.get(partition)
        if cached is None:
            source = self._partitions[partition]
            table = _read_table(source.path, self._filesystem, TENSORS)
            video, audio = (_rows(read_tensor(table, name), source.row_of) for name in TENSORS)
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


def _rows(tensor: np.ndarray, row_of: np.ndarray) -> np.ndarray:
    """Some rows; without a copy where they are all, as they lie."""
    return tensor if np.array_equal(row_of, np.arange(len(tensor))) else tensor[row_of]


def _pairs(partitions: np.ndarray, clips: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack((np.repeat(partitions, [len(c) for c in clips]), np.concatenate(clips)), axis=1)


def _num_bytes(arrays: tuple[np.ndarray, ...]) -> int:
    return sum(a.nbytes for a in arrays)


def _batch_and_lanes(spec: BatchSpec, num_clips: int, num_workers: int) -> tuple[int, int]:
    """What the configuration asks for, or what a smaller corpus gives: at least two clips a worker."""
    batch_size = min(spec.batch_size, num_clips)
    # A corpus of a few clips is no matter of reading: as many lanes as workers do.
    num_lanes = spec.lanes if batch_size >= spec.lanes else num_workers
    batch_size = batch_size // num_lanes * num_lanes
    if batch_size < 2 * num_workers:
        raise InputError(
            f"training: {num_clips} clips in batches of {spec.batch_size} give {num_workers} workers less than two "
            f"clips each; ingest (or label) at least {2 * num_workers} clips, or set fewer workers "
            f"({spec.section}.num_workers)"
        )
    return batch_size, num_lanes


def _read_index(
    files: Sequence[str], filesystem: pyarrow.fs.FileSystem, only: Collection[str] | None
) -> tuple[list[_Partition], int]:
    """The partitions in the order of their first id, and the bytes of one clip."""
    wanted = None if only is None else set(only)
    partitions: list[_Partition] = []
    shapes: dict[tuple, str] = {}
    with ThreadPoolExecutor(INDEX_THREADS) as pool:
        for path, (ids, shape) in zip(files, pool.map(lambda f: _read_ids(f, filesystem), files), strict=True):
            row_of = np.argsort(ids, kind="stable")
            if wanted is not None:
                row_of = row_of[[sample_id in wanted for sample_id in ids[row_of]]]
            if len(row_of) == 0:
                continue
            partitions.append(_Partition(path, ids[row_of], row_of))
            shapes.setdefault(shape, path)
    if len(shapes) > 1:
        raise TableError(f"clips: files hold different clip shapes, such as {list(shapes.values())[:2]}; ingest again")
    partitions.sort(key=lambda p: p.sample_ids[0])
    return partitions, sum(next(iter(shapes))) if shapes else 1


def _sample_order(partitions: list[_Partition]) -> np.ndarray:
    """All clips, partitions by the hash of their first id and clips by their own: indices into `sample_ids`, [N]."""
    if not partitions:
        return np.empty(0, dtype=np.int64)
    first = np.cumsum([0, *(len(p) for p in partitions)])
    places = order_by_hash(p.sample_ids[0] for p in partitions)
    return np.concatenate([first[i] + order_by_hash(partitions[i].sample_ids) for i in places])


def _read_ids(path: str, filesystem: pyarrow.fs.FileSystem) -> tuple[np.ndarray, tuple[int, ...]]:
    """The ids of a file, and the bytes of each tensor of a clip."""
    table = _read_table(path, filesystem, ("sample_id",))
    return np.array(table["sample_id"].to_pylist(), dtype=object), _clip_shape(path, filesystem)


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
        if is_of_service(error):
            raise
        raise TableError(f"{path}: cannot be read as a CLIP table ({error})") from error
