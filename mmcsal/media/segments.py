"""A long sample as several: windows one behind the other, tied by `source`, so that quotas count what a film gives."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from mmcsal.contracts.manifest import MANIFEST
from mmcsal.media.decode import Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.fetch import decode_fetched
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.uri import StorageSpec

# The least clip that there is: it is decoded to learn how long its sample lasts.
PROBE = {"window": "start", "window_s": 0.1, "min_duration_s": 0.001, "num_frames": 2, "frame_size_px": 16}


def lengths_s(sources: Sequence[Source], spec: MediaSpec, storage: StorageSpec) -> list[float | None]:
    """How long each sample lasts; None where it cannot be decoded, which ingest will say why.

    Decoder processes look at the files, one for each CPU.
    """
    num_workers = max(1, min(os.cpu_count() or 1, len(sources)))
    probe = spec.model_copy(update={**PROBE, "sampling": "keyframes"})

    def look(share: Sequence[Source]) -> list[float | None]:
        with DecodeProcess(probe) as decoder:
            results = decode_fetched(share, decoder.map, storage)
            return [None if isinstance(result, MediaError) else result.duration_s for result in results]

    found: list[float | None] = [None] * len(sources)
    with ThreadPoolExecutor(num_workers) as pool:
        for worker, lengths in enumerate(pool.map(look, [sources[w::num_workers] for w in range(num_workers)])):
            found[worker::num_workers] = lengths
    return found


def in_segments(manifest: pa.Table, lengths: Sequence[float | None], window_s: float) -> pa.Table:
    """The MANIFEST with each sample of two windows or more as its windows, sorted by sample_id.

    A segment is called as its sample with `#` and the second of the file at which it begins, and its `source` is the
    sample. What is left behind the last whole window is left out; a shorter sample stays as it is.
    """
    num_windows = np.array([1 if s is None else max(1, int((s + 1e-6) / window_s)) for s in lengths], np.int64)
    rows = np.repeat(np.arange(manifest.num_rows), num_windows)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(num_windows) - num_windows, num_windows)
    table = manifest.take(pa.array(rows))
    is_segment = num_windows[rows] > 1
    begins_s = np.array([s or 0.0 for s in table["start_s"].to_pylist()]) + number * window_s
    ids = table["sample_id"].to_pylist()
    columns = {
        "sample_id": [f"{i}#{_short(s)}" if cut else i for i, s, cut in zip(ids, begins_s, is_segment, strict=True)],
        "start_s": [s if cut else old for s, old, cut in _either(begins_s, table["start_s"], is_segment)],
        "duration_s": [window_s if cut else old for _, old, cut in _either(begins_s, table["duration_s"], is_segment)],
        "source": [i if cut else old for i, old, cut in _either(ids, table["source"], is_segment)],
    }
    for name, values in columns.items():
        place = MANIFEST.get_field_index(name)
        table = table.set_column(place, MANIFEST.field(place), pa.array(values, MANIFEST.field(place).type))
    return table.sort_by("sample_id")


def _either(new: Iterable[Any], old: pa.ChunkedArray, is_segment: np.ndarray) -> Iterable[tuple[Any, Any, bool]]:
    return zip(new, old.to_pylist(), is_segment, strict=True)


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
