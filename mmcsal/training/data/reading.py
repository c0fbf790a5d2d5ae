"""The tensors of clips, wherever their files lie."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.fs
import torch
from torch import Tensor

from mmcsal.contracts.clip import read_tensor
from mmcsal.models.encoders.video.gray import gray_bytes
from mmcsal.training.data.cache import ArrayCache
from mmcsal.training.data.clip_file import TENSORS, read_columns
from mmcsal.training.data.index import Partition

NO_PARTNERS: Mapping[int, np.ndarray] = {}


@dataclass(frozen=True)
class ClipBatch:
    """One worker's rows of one global batch."""

    sample_ids: list[str]
    audio_ids: list[str]  # whose sound each row has: its own, or of a decoy another's
    place_B: Tensor  # int64, of each clip among all that are served
    video_BTHWC: Tensor  # uint8, C = 3, or 1 where gray was asked for
    audio_BL: Tensor  # int16
    rows: slice  # which rows of the global batch these are
    global_batch_size: int


class ClipReader:
    """Reads clips by (partition, place within it); a partition is read whole and kept for the next time."""

    def __init__(
        self, partitions: Sequence[Partition], filesystem: pyarrow.fs.FileSystem, *, cache_bytes: int, gray: bool
    ):
        """What it is made of.

        Args:
            cache_bytes: what has been read is kept up to so many.
            gray: frames with one channel, see `gray_bytes`.
        """
        self.cache = ArrayCache(cache_bytes)
        self._partitions, self._filesystem, self._gray = partitions, filesystem, gray
        self._first = np.cumsum([0, *(len(partition) for partition in partitions)])

    def batch(
        self,
        clips_B2: np.ndarray,
        rows: slice,
        global_batch_size: int,
        partner_of: Mapping[int, np.ndarray] = NO_PARTNERS,
    ) -> ClipBatch:
        """Some clips as the given rows of a global batch, one visit per partition.

        Args:
            partner_of: by partition, whose sound each of its clips gets (see `choose_decoys`); its own where none says.
        """
        sound_B2 = clips_B2.copy()
        for partition in partner_of.keys() & set(clips_B2[:, 0].tolist()):
            here = clips_B2[:, 0] == partition
            sound_B2[here, 1] = partner_of[partition][clips_B2[here, 1]]
        out: list[np.ndarray] = []
        for partition in np.unique(clips_B2[:, 0]):
            here = np.flatnonzero(clips_B2[:, 0] == partition)
            tensors = self._tensors(int(partition))
            if not out:
                out = [np.empty((len(clips_B2), *tensor.shape[1:]), tensor.dtype) for tensor in tensors]
            for target, tensor, place_B2 in zip(out, tensors, (clips_B2, sound_B2), strict=True):
                target[here] = tensor[place_B2[here, 1]]
        video, audio = map(torch.from_numpy, out)
        place_B = torch.from_numpy(self._first[clips_B2[:, 0]] + clips_B2[:, 1])
        ids, audio_ids = self._ids(clips_B2), self._ids(sound_B2)
        return ClipBatch(ids, audio_ids, place_B, video, audio, rows, global_batch_size)

    def chunks(self, clips_N2: np.ndarray, size: int) -> Iterator[ClipBatch]:
        """Some clips, `size` at a time; each chunk is a batch of its own."""
        for first in range(0, len(clips_N2), size):
            chunk_B2 = clips_N2[first : first + size]
            yield self.batch(chunk_B2, slice(0, len(chunk_B2)), len(chunk_B2))

    def _ids(self, clips_B2: np.ndarray) -> list[str]:
        return [str(self._partitions[partition].sample_id_N[place]) for partition, place in clips_B2]

    def _tensors(self, partition: int) -> tuple[np.ndarray, ...]:
        """The clips of a partition, in its order."""
        cached = self.cache.get(partition)
        if cached is None:
            source = self._partitions[partition]
            table = read_columns(source.path, self._filesystem, TENSORS)
            video, audio = (_rows(read_tensor(table, name), source.row_N) for name in TENSORS)
            cached = (gray_bytes(video) if self._gray else video, audio)
            self.cache.put(partition, cached)
        return cached


def _rows(tensor: np.ndarray, row_N: np.ndarray) -> np.ndarray:
    """Some rows; without a copy where they are all, as they lie."""
    return tensor if np.array_equal(row_N, np.arange(len(tensor))) else tensor[row_N]
