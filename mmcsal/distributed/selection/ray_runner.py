"""Stage 2 on Ray: the steps of `mmcsal.selection.pipeline` as tasks over Parquet files.

One pass reads the files, checks and quantises the rows; from then on they lie in the object store as int16, first by
shard and then, after one shuffle, by cell. No task waits for another one or holds a CPU for longer than its step, so
one CPU is enough. Ray gives a task of one CPU one BLAS thread; with any number the result would be the same.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from pyarrow import fs
from ray.exceptions import RayTaskError

from mmcsal.contracts.embedding import SUFFIX, modalities_of, read_vectors
from mmcsal.contracts.errors import InputError, TableError, on_one_line
from mmcsal.distributed.cluster.errors import told_to_the_reader
from mmcsal.distributed.selection.checkpoint import Store, StoredStep
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.pipeline import select
from mmcsal.selection.result import Selection
from mmcsal.selection.scaleout.buckets import Bucket, join, propose
from mmcsal.selection.scaleout.neighbors import Neighbors
from mmcsal.selection.scaleout.shard import Rows, Shard, ShardSummary, concat_rows, prepare
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies.classifier import FusedClassifier
from mmcsal.storage.uri import is_of_service

STORED_STEPS = (propose,)  # the steps whose buckets take long and leave little
# Of embeddings that a task reads. Ray hands results below 100 KB to the driver, where the pieces of all buckets
# together would be the whole pool: so shards are large, and small files share one. A row group is never split.
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 2**24, 2**28
NUM_SHARDS = 32  # of pools between these bounds
NUM_FOOTER_READERS = 16
EXPECTED = (
    "write `sample_id` as strings, and `<modality>_embedding` as fixed_size_list<float> of one width in all files"
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """Where some rows of a shard lie."""

    path: str
    row_groups: tuple[int, ...]
    modalities: tuple[str, str]
    filesystem: fs.FileSystem | None
    salt: str

    def read(self) -> Shard:
        """Reads the rows.

        Raises: TableError: a column is missing, of another type, or damaged; names the file.
        """
        columns = ["sample_id", *(f"{m}{SUFFIX}" for m in self.modalities)]
        try:
            with pq.ParquetFile(self.path, filesystem=self.filesystem) as file:
                missing = [c for c in columns if c not in file.schema_arrow.names]
                if missing:
                    raise TableError(f"no columns {missing}; found {file.schema_arrow.names}")
                table = file.read_row_groups(list(self.row_groups), columns=columns)
            vectors = [
                read_vectors(_without_nulls(table, c), m) for c, m in zip(columns[1:], self.modalities, strict=True)
            ]
            ids = pa.concat_arrays(table["sample_id"].cast(pa.string()).chunks or [pa.array([], pa.string())])
        except (TableError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            told = str(error).removeprefix("embeddings: ")
            raise TableError(f"{self.path}: {told}; {EXPECTED}") from error
        except OSError as error:
            if is_of_service(error):
                raise
            raise _damaged(self.path, error) from error
        is_missing = [table[name].is_null().to_numpy() for name in columns[1:]]
        missing_2N = (is_missing[0], is_missing[1]) if any(m.any() for m in is_missing) else None
        return Shard(self.path, ids, vectors[0], vectors[1], self.salt, (columns[1], columns[2]), missing_2N)


def _without_nulls(table: pa.Table, name: str) -> pa.Table:
    """The table with zeros in place of a column's nulls: a flat array of a list column leaves null rows out."""
    column, place = table[name], table.column_names.index(name)
    if not column.null_count or not pa.types.is_fixed_size_list(column.type):
        return table
    zeros = pa.array([[0.0] * column.type.list_size], column.type)
    row_N = np.where(column.is_valid().to_numpy(), np.arange(len(column)), len(column))
    return table.set_column(place, name, pc.take(pa.chunked_array([*column.chunks, zeros]), pa.array(row_N)))


def select_over_ray(
    files: Sequence[str],
    spec: SelectSpec,
    *,
    filesystem: fs.FileSystem | None = None,
    modalities: tuple[str, str] | None = None,
    labeled: Iterable[str] | None = None,
    columns: pa.Table | None = None,
    uris: pa.Table | None = None,
    seed: int = 0,
    classifier: FusedClassifier | None = None,
    progress: Progress | None = None,
    store: Store | None = None,
) -> Selection:
    """Selects from Parquet files of the EMBEDDING schema on the Ray session of the caller.

    The same selection as `select_pairs` of the same rows, whatever the number of files, workers and CPUs.

    Args:
        files: paths on `filesystem` (the local one by default); any number of rows each, in any order.
        modalities: the two to pair; needed only where the files hold others than two.
        labeled: ids in the pool that have labels already: they cover what lies around them and are never selected.
        columns: `sample_id` and, of `cost`, `weight` and the columns of quotas, what the spec needs.
        uris: columns `sample_id` and `uri`, for the `uri` of the result.
        classifier: trained on the labels so far, for warm-start strategies.
        progress: called with the tasks that are done and the tasks known so far.
        store: where buckets that are done are kept, so that a killed selection goes on with the others.

    Raises:
        InputError: no files, or a budget or labeled ids that do not fit the pool.
        TableError: a file breaks the schema; repeated ids, zero vectors, values that are not finite.
    """
    if not files:
        raise InputError("embeddings: no Parquet files; check the folder, or run `mmcsal embed` first")
    shards = _shards(sorted(files), filesystem, modalities, salt_of(seed))
    request = request_of(spec, labeled, columns, seed, classifier)
    selection = select(RayRunner(shards, progress, store), request, seed=seed)
    return selection if uris is None else selection.with_uris(uris)


class RayRunner:
    """Runs every step as one task a shard, a bucket or a subproblem; see `mmcsal.selection.pipeline.Runner`."""

    def __init__(
        self, shards: Sequence[Sequence[Source]], progress: Progress | None = None, store: Store | None = None
    ) -> None:
        self._shards, self._progress, self._store = shards, progress, store
        self._rows: list[ray.ObjectRef] = []
        self._pieces_by_bucket: list[list[ray.ObjectRef]] = []
        self._num_done = self._num_started = 0

    def prepare(self, bad_rows: str) -> list[ShardSummary]:
        """See `Runner`."""
        outputs: list[Any] = [_prepare.remote(sources, bad_rows) for sources in self._shards]
        self._rows = [rows for rows, _ in outputs]
        summaries_by_shard = self._results([summaries for _, summaries in outputs])
        return [summary for summaries in summaries_by_shard for summary in summaries]

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        common_ref = ray.put(common)
        return self._results([_over_rows.remote(step, rows, common_ref) for rows in self._rows])

    def shuffle(self, step: Callable[..., list[Bucket]], num_buckets: int, *common: Any) -> None:
        """See `Runner`."""
        common_ref = ray.put(common)
        routing = _over_rows if num_buckets > 1 else _first_over_rows
        outputs = [routing.options(num_returns=num_buckets).remote(step, rows, common_ref) for rows in self._rows]
        pieces_by_shard = [output if isinstance(output, list) else [output] for output in outputs]
        self._wait([pieces[0] for pieces in pieces_by_shard])  # an error comes up in `over_buckets`
        self._pieces_by_bucket = [list(pieces) for pieces in zip(*pieces_by_shard, strict=True)]
        self._rows = []  # the shards are in the buckets now

    def over_buckets(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`; what a killed selection has in its store is not done again."""
        common_ref = ray.put(common)
        buckets = range(len(self._pieces_by_bucket))
        stored = self._store.scope(step, common) if self._store is not None and step in STORED_STEPS else None
        found = {bucket: stored.read(bucket) for bucket in buckets if stored.has(bucket)} if stored is not None else {}
        refs = [
            _over_bucket.remote(step, common_ref, stored, bucket, *self._pieces_by_bucket[bucket])
            for bucket in buckets
            if bucket not in found
        ]
        fresh = iter(self._results(refs))
        return [found[bucket] if bucket in found else next(fresh) for bucket in buckets]

    def over_subproblems(
        self,
        buckets_by_subproblem: list[list[int]],
        step: Callable[..., Neighbors],
        commons: list[tuple],
        last: Callable,
        last_commons: list[tuple],
    ) -> list[Any]:
        """See `Runner`."""
        neighbors = []
        for buckets, common_ref in zip(buckets_by_subproblem, [ray.put(common) for common in commons], strict=True):
            neighbors.append(
                [_over_bucket.remote(step, common_ref, None, b, *self._pieces_by_bucket[b]) for b in buckets]
            )
        self._wait([ref for refs in neighbors for ref in refs])
        subproblems = zip(neighbors, last_commons, strict=True)
        return self._results(
            [_over_subproblem.remote(last, ray.put(last_common), *refs) for refs, last_common in subproblems]
        )

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


@ray.remote(num_cpus=1, num_returns=2)
def _prepare(sources: Sequence[Source], bad_rows: str) -> tuple[Rows, list[ShardSummary]]:
    prepared = [prepare(source.read(), bad_rows) for source in sources]
    width = prepared[0][0].joint_ND.shape[1]
    same = [rows for rows, _ in prepared if rows.joint_ND.shape[1] == width]  # the summaries tell of others
    return concat_rows(same), [summary for _, summary in prepared]


@ray.remote(num_cpus=1)
def _over_rows(step: Callable[..., Any], rows: Rows, common: tuple) -> Any:
    return step(rows, *common)


@ray.remote(num_cpus=1)
def _first_over_rows(step: Callable[..., Any], rows: Rows, common: tuple) -> Any:
    return step(rows, *common)[0]


@ray.remote(num_cpus=1)
def _over_bucket(
    step: Callable[..., Any], common: tuple, stored: StoredStep | None, bucket: int, *pieces: Bucket
) -> Any:
    result = step(join(list(pieces)), *common)
    if stored is not None:
        stored.write(bucket, result)
    return result


@ray.remote(num_cpus=1)
def _over_subproblem(step: Callable[..., Any], common: tuple, *neighbors: Neighbors) -> Any:
    return step(list(neighbors), *common)


def _shards(
    files: list[str], filesystem: fs.FileSystem | None, modalities: tuple[str, str] | None, salt: str
) -> list[list[Source]]:
    """Runs of row groups of one file or more, each as much as a task should read."""
    footers = read_footers(files, filesystem)
    pair = modalities or _modalities(files[0], footers[0].schema.to_arrow_schema())
    groups = [
        (path, group, footer.row_group(group).total_byte_size)
        for path, footer in zip(files, footers, strict=True)
        for group in range(footer.num_row_groups)
    ]
    max_bytes = shard_bytes(sum(num_bytes for _, _, num_bytes in groups))
    shards: list[dict[str, list[int]]] = [{}]
    filled = 0
    for path, group, num_bytes in groups:
        if filled and filled + num_bytes > max_bytes:
            shards.append({})
            filled = 0
        shards[-1].setdefault(path, []).append(group)
        filled += num_bytes
    return [
        [Source(path, tuple(numbers), pair, filesystem, salt) for path, numbers in shard.items()]
        for shard in shards
        if shard
    ]


def shard_bytes(total_bytes: int) -> int:
    """How many bytes of embeddings a task reads, where files and row groups allow."""
    return min(max(total_bytes // NUM_SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def read_footers(files: Sequence[str], filesystem: fs.FileSystem | None) -> list[pq.FileMetaData]:
    """What each Parquet file says of itself.

    Raises: TableError: a file is not Parquet, or not whole.
    """

    def read(path: str) -> pq.FileMetaData:
        try:
            return pq.read_metadata(path, filesystem=filesystem)
        except (OSError, pa.ArrowInvalid) as error:
            if is_of_service(error):
                raise
            raise _damaged(path, error) from error

    with ThreadPoolExecutor(NUM_FOOTER_READERS) as readers:
        return list(readers.map(read, files))


def _damaged(path: str, error: Exception) -> TableError:
    return TableError(f"{path}: cannot be read as Parquet: {on_one_line(error)}; write it again, or take it away")


def _modalities(path: str, schema: pa.Schema) -> tuple[str, str]:
    found = modalities_of(schema)
    if len(found) != 2:
        raise InputError(f"{path}: modalities {found}; expected two, or name the two to pair")
    return found[0], found[1]
