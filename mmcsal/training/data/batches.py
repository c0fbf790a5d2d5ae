"""A CLIP table as batches: index, order and reading put together."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow.fs

from mmcsal.contracts.errors import InputError
from mmcsal.training.batch_spec import BatchSpec
from mmcsal.training.data.index import ClipIndex, read_index
from mmcsal.training.data.order import Lanes, cut_lanes, epoch_order, place_pairs
from mmcsal.training.data.reading import ClipBatch, ClipReader
from mmcsal.training.evidence.decoys import choose_decoys

CHUNK_CLIPS = 256  # of a fixed sample or a share, read at a time


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
        self._seed, self._section = seed, spec.section
        self._index = read_index(files, filesystem, only)
        is_trained_N = _is_trained(self._index, spec, held_out)
        self._trained, self._held_out = self._index.where(is_trained_N), self._index.where(~is_trained_N)
        ids_of = [partition.sample_id_N for partition in self._index.partitions]
        self._partner_of = choose_decoys(ids_of, self._trained, spec.decoy_spec)
        self._lanes = cut_lanes(spec, int(is_trained_N.sum()), self.clip_bytes, num_workers)
        cache_bytes = max(spec.cache_bytes, _fewest_cached_bytes(self._index, self._lanes, num_workers))
        self._reader = ClipReader(self._index.partitions, filesystem, cache_bytes=cache_bytes, gray=gray)

    @property
    def num_clips(self) -> int:
        return self._index.num_clips

    @property
    def clip_bytes(self) -> int:
        """Of one clip, in color."""
        return self._index.clip_bytes

    @property
    def batch_size(self) -> int:
        """Clips of a step over all workers; less than configured where the corpus is small."""
        return self._lanes.batch_size

    @property
    def num_lanes(self) -> int:
        """Parts of a batch that are read on their own."""
        return self._lanes.num_lanes

    @property
    def steps_per_epoch(self) -> int:
        return self._lanes.steps_per_epoch

    @property
    def sample_ids(self) -> np.ndarray:
        """All ids, str [N], partition by partition."""
        return self._index.sample_id_N

    @property
    def held_out_ids(self) -> list[str]:
        """The ids of the clips that no epoch holds, in the order of their shares."""
        return [str(i) for p, at in zip(self._index.partitions, self._held_out, strict=True) for i in p.sample_id_N[at]]

    @property
    def partner_id_of(self) -> dict[str, str]:
        """The decoys, each with the sample whose sound an epoch gives it."""
        found = {}
        for partition, partner_N in self._partner_of.items():
            ids_N = self._index.partitions[partition].sample_id_N
            decoys = np.flatnonzero(partner_N != np.arange(len(ids_N)))
            found |= {str(ids_N[at]): str(ids_N[partner_N[at]]) for at in decoys}
        return found

    @property
    def ids_by_file(self) -> dict[str, np.ndarray]:
        """`sample_ids`, cut by the path of the file that each lies in."""
        return {partition.path: partition.sample_id_N for partition in self._index.partitions}

    def order(self, epoch: int) -> np.ndarray:
        """The clips of one epoch, int64 [steps, B, 2]: see `epoch_order`."""
        return epoch_order(self._trained, self._lanes, seed=self._seed, epoch=epoch)

    def epoch(self, epoch: int, *, rank: int = 0, num_workers: int = 1, first_step: int = 0) -> Iterator[ClipBatch]:
        """This worker's batches of one epoch, from `first_step` on.

        Raises:
            InputError: the batch cannot be cut into equal shares of whole lanes.
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
            yield self._reader.batch(order[step, rows], rows, self.batch_size, self._partner_of)

    def fixed_sample(self, num_clips: int, *, chunk: int = CHUNK_CLIPS) -> Iterator[ClipBatch]:
        """Up to `num_clips` clips, in chunks: the same ones in every run over a corpus.

        They fill whole partitions (each is a random part of the corpus, as ids are dealt out by hash), so that a sample
        of a large corpus reads a few files.
        """
        return self._reader.chunks(self._everything()[self._index.by_hash_N[:num_clips]], chunk)

    def share_of_all(self, rank: int, num_workers: int, *, chunk: int = CHUNK_CLIPS) -> Iterator[ClipBatch]:
        """This worker's clips, in chunks, when all clips are cut into neighbouring, nearly equal shares."""
        return self._reader.chunks(np.array_split(self._everything(), num_workers)[rank], chunk)

    def share_of_held_out(self, rank: int, num_workers: int, *, chunk: int = CHUNK_CLIPS) -> Iterator[ClipBatch]:
        """As `share_of_all`, of the clips that no epoch holds."""
        clips_N2 = place_pairs(np.arange(len(self._held_out)), self._held_out)
        return self._reader.chunks(np.array_split(clips_N2, num_workers)[rank], chunk)

    def sample_ids_of_share(self, rank: int, num_workers: int) -> np.ndarray:
        """The ids of `share_of_all`, in its order."""
        return np.array_split(self.sample_ids, num_workers)[rank]

    def _everything(self) -> np.ndarray:
        """All clips in the order of `sample_ids`, int64 [N, 2]."""
        sizes = self._index.sizes
        return place_pairs(np.arange(len(sizes)), [np.arange(size) for size in sizes])


def _is_trained(index: ClipIndex, spec: BatchSpec, held_out: Collection[str]) -> np.ndarray:
    """Whether training sees each clip, bool [N]."""
    if index.num_clips < 2 * spec.num_held_out:
        raise InputError(
            f"training: pretrain.hold_out_eval would take {spec.num_held_out} of {index.num_clips} clips; "
            f"set pretrain.eval_samples to {index.num_clips // 2} or less"
        )
    apart = set(held_out)
    is_trained_N = np.array([sample_id not in apart for sample_id in index.sample_id_N], dtype=bool)
    is_trained_N[index.by_hash_N[: spec.num_held_out]] = False
    return is_trained_N


def _fewest_cached_bytes(index: ClipIndex, lanes: Lanes, num_workers: int) -> int:
    """What a worker's lanes mix at a time: with less in memory, each step would read it again."""
    return lanes.num_lanes // num_workers * (lanes.window_clips + 2 * max(index.sizes)) * index.clip_bytes
