"""Stage 2 on Ray: the steps of `mmcsal.selection.pipeline` as tasks over Parquet files.

One pass reads the files, checks and quantises the rows; from then on they lie in the object store as int16, first by
shard and then, after one shuffle, by cell. No task waits for another one or holds a CPU for longer than its step, so
one CPU is enough. Ray gives a task of one CPU one BLAS thread; with any number the result would be the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
import ray
from pyarrow import fs
from ray.exceptions import RayTaskError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.progress import Progress
from mmcsal.distributed.cluster.errors import mmcsal_error_in
from mmcsal.distributed.selection.checkpoint import Store, StoredStep
from mmcsal.selection.api import request_of, salt_of
from mmcsal.selection.pipeline import select
from mmcsal.selection.result import Selection
from mmcsal.selection.scaleout.buckets import Bucket, join, propose
from mmcsal.selection.scaleout.neighbors import Neighbors
from mmcsal.selection.scaleout.parquet_shards import RowGroups, shards_of
from mmcsal.selection.scaleout.request import GivenAlignment
from mmcsal.selection.scaleout.shard import Rows, ShardSummary, concat_rows, prepare
from mmcsal.selection.spec import SelectSpec
from mmcsal.selection.strategies.classifier import FusedClassifier

STORED_STEPS = (propose,)  # the steps whose buckets take long and leave little


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
    alignment: GivenAlignment | None = None,
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
        alignment: scores of pairs by id, as of `select_pairs`.
        progress: called with the tasks that are done and the tasks known so far.
        store: where buckets that are done are kept, so that a killed selection goes on with the others.

    Raises:
        InputError: no files, or a budget or labeled ids that do not fit the pool.
        TableError: a file breaks the schema; repeated ids, zero vectors, values that are not finite.
    """
    if not files:
        raise InputError("embeddings: no Parquet files; check the folder, or run `mmcsal embed` first")
    shards = shards_of(sorted(files), filesystem, modalities, salt_of(seed))
    request = request_of(spec, labeled, columns, seed, classifier, alignment)
    selection = select(RayRunner(shards, progress, store), request, seed=seed)
    return selection if uris is None else selection.with_uris(uris)


class RayRunner:
    """Runs every step as one task a shard, a bucket or a subproblem; see `mmcsal.selection.runner.Runner`."""

    def __init__(
        self, shards: Sequence[Sequence[RowGroups]], progress: Progress | None = None, store: Store | None = None
    ) -> None:
        self._shards, self._progress, self._store = shards, progress, store
        self._rows: list[ray.ObjectRef] = []
        self._pieces_by_bucket: list[list[ray.ObjectRef]] = []
        self._num_done = self._num_started = 0

    def prepare(self, bad_rows: str) -> list[ShardSummary]:
        """See `Runner`."""
        outputs: list[Any] = [_prepare.remote(parts, bad_rows) for parts in self._shards]
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
        raise mmcsal_error_in(error) or error from None


@ray.remote(num_cpus=1, num_returns=2)
def _prepare(parts: Sequence[RowGroups], bad_rows: str) -> tuple[Rows, list[ShardSummary]]:
    prepared = [prepare(part.read(), bad_rows) for part in parts]
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
