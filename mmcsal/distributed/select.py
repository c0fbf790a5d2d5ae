"""Stage 2 on Ray: the steps of `mmcsal.selection.pipeline` as tasks over Parquet files.

Four passes read the files (hashes, samples, bandwidth, routing); the last one shuffles the rows by cell through the
object store, as int16. No task waits for another one or holds a CPU for longer than its step, so one CPU is enough.
Ray gives a task of one CPU one BLAS thread; with any number the result would be the same.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pyarrow import fs
from ray.exceptions import RayTaskError

from mmcsal.contracts.embedding import SUFFIX, modalities_of, read_vectors
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.distributed.session import told_to_the_reader
from mmcsal.selection.api import salt_of, select_with
from mmcsal.selection.bag import Bag, join
from mmcsal.selection.result import Selection
from mmcsal.selection.shard import Shard
from mmcsal.selection.spec import SelectSpec

MAX_SHARD_BYTES = 2**28  # of embeddings that a task reads; a row group is never split
NUM_FOOTER_READERS = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """Where the rows of one shard lie."""

    path: str
    row_groups: tuple[int, ...]
    modalities: tuple[str, str]
    filesystem: fs.FileSystem | None
    salt: str

    def read(self) -> Shard:
        """Reads the rows.

        Raises: TableError: a column is missing, of another type, or holds nulls; names the file.
        """
        columns = ["sample_id", *(f"{m}{SUFFIX}" for m in self.modalities)]
        with pq.ParquetFile(self.path, filesystem=self.filesystem) as file:
            missing = [c for c in columns if c not in file.schema_arrow.names]
            if missing:
                raise TableError(f"{self.path}: no columns {missing}; found {file.schema_arrow.names}")
            table = file.read_row_groups(list(self.row_groups), columns=columns)
        for name in columns:
            if table[name].null_count:
                raise TableError(f"{self.path}: column {name!r} has {table[name].null_count} nulls; none are allowed")
        try:
            vectors = [read_vectors(table, m) for m in self.modalities]
            ids = pa.concat_arrays(table["sample_id"].cast(pa.string()).chunks or [pa.array([], pa.string())])
        except (TableError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(f"{self.path}: {error}") from error
        return Shard(self.path, ids, vectors[0], vectors[1], self.salt, (columns[1], columns[2]))


def select_over_ray(
    files: Sequence[str],
    spec: SelectSpec,
    *,
    filesystem: fs.FileSystem | None = None,
    modalities: tuple[str, str] | None = None,
    labeled: Iterable[str] | None = None,
    uris: pa.Table | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Selection:
    """Selects from Parquet files of the EMBEDDING schema on the Ray session of the caller.

    The same selection as `select_pairs` of the same rows, whatever the number of files, workers and CPUs.

    Args:
        files: paths on `filesystem` (the local one by default); any number of rows each, in any order.
        modalities: the two to pair; needed only where the files hold others than two.
        labeled: ids in the pool that have labels already: they cover what lies around them and are never selected.
        uris: columns `sample_id` and `uri`, for the `uri` of the result.
        progress: called with the tasks that are done and the tasks known so far.

    Raises:
        InputError: no files, or a budget or labeled ids that do not fit the pool.
        TableError: a file breaks the schema; repeated ids, zero vectors, values that are not finite.
    """
    if not files:
        raise InputError("embeddings: no Parquet files; check the folder, or run `mmcsal embed` first")
    sources = _sources(sorted(files), filesystem, modalities, salt_of(seed))
    selection = select_with(RayRunner(sources, progress), spec, labeled=labeled, seed=seed)
    return selection if uris is None else selection.with_uris(uris)


class RayRunner:
    """Runs every step as one task a shard or a bag; see `mmcsal.selection.pipeline.Runner`."""

    def __init__(self, sources: Sequence[Source], progress: Progress | None = None) -> None:
        self._sources, self._progress = sources, progress
        self._pieces_by_bag: list[list[ray.ObjectRef]] = []
        self._num_done = self._num_started = 0

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        common_ref = ray.put(common)
        return self._results([_over_shard.remote(step, source, common_ref) for source in self._sources])

    def shuffle(self, step: Callable[..., list[Bag]], num_bags: int, *common: Any) -> None:
        """See `Runner`."""
        common_ref = ray.put(common)
        routing = _over_shard if num_bags > 1 else _first_over_shard
        outputs = [routing.options(num_returns=num_bags).remote(step, source, common_ref) for source in self._sources]
        pieces_by_shard = [output if isinstance(output, list) else [output] for output in outputs]
        self._wait([pieces[0] for pieces in pieces_by_shard])  # an error comes up in `over_bags`
        self._pieces_by_bag = [list(pieces) for pieces in zip(*pieces_by_shard, strict=True)]

    def over_bags(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        common_ref = ray.put(common)
        return self._results([_over_bag.remote(step, common_ref, *pieces) for pieces in self._pieces_by_bag])

    def _results(self, refs: list[ray.ObjectRef]) -> list[Any]:
        self._wait(refs)
        return _get(refs)

    def _wait(self, refs: list[ray.ObjectRef]) -> None:
        self._num_started += len(refs)
        pending = refs
        while pending:
            ready, pending = ray.wait(pending, num_returns=1, fetch_local=False)
            self._num_done += len(ready)
            if self._progress is not None:
                self._progress(self._num_done, self._num_started)


def _get(refs: list[ray.ObjectRef]) -> list[Any]:
    try:
        return ray.get(refs)
    except RayTaskError as error:
        # Written for the reader: the trace of the task would hide it.
        raise told_to_the_reader(error) or error from None


@ray.remote(num_cpus=1)
def _over_shard(step: Callable[..., Any], source: Source, common: tuple) -> Any:
    return step(source.read(), *common)


@ray.remote(num_cpus=1)
def _first_over_shard(step: Callable[..., Any], source: Source, common: tuple) -> Any:
    return step(source.read(), *common)[0]


@ray.remote(num_cpus=1)
def _over_bag(step: Callable[..., Any], common: tuple, *pieces: Bag) -> Any:
    return step(join(list(pieces)), *common)


def _sources(
    files: list[str], filesystem: fs.FileSystem | None, modalities: tuple[str, str] | None, salt: str
) -> list[Source]:
    """Files cut into runs of row groups that a task can hold."""
    with ThreadPoolExecutor(NUM_FOOTER_READERS) as readers:
        footers = list(readers.map(lambda path: pq.read_metadata(path, filesystem=filesystem), files))
    pair = modalities or _modalities(files[0], footers[0].schema.to_arrow_schema())
    sources = []
    for path, footer in zip(files, footers, strict=True):
        sources += [Source(path, groups, pair, filesystem, salt) for groups in _runs(footer)]
    return sources


def _runs(footer: pq.FileMetaData) -> list[tuple[int, ...]]:
    runs: list[list[int]] = [[]]
    filled = 0
    for group in range(footer.num_row_groups):
        num_bytes = footer.row_group(group).total_byte_size
        if runs[-1] and filled + num_bytes > MAX_SHARD_BYTES:
            runs.append([])
            filled = 0
        runs[-1].append(group)
        filled += num_bytes
    return [tuple(run) for run in runs]


def _modalities(path: str, schema: pa.Schema) -> tuple[str, str]:
    found = modalities_of(schema)
    if len(found) != 2:
        raise InputError(f"{path}: modalities {found}; expected two, or name the two to pair")
    return found[0], found[1]
