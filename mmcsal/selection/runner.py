"""Where the steps of a selection run: the protocol that every runner fills, and the one of this process.

Steps are pure functions of a shard, a bucket or a subproblem; a runner never changes what they return.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from threadpoolctl import ThreadpoolController

from mmcsal.selection.scaleout.buckets import Bucket, join
from mmcsal.selection.scaleout.neighbors import Neighbors
from mmcsal.selection.scaleout.shard import Rows, Shard, ShardSummary, prepare


class Runner(Protocol):
    """Where steps run: in this process, or as tasks on a cluster."""

    def prepare(self, bad_rows: str) -> list[ShardSummary]:
        """Reads, checks and quantises every shard, once, and keeps its rows for the steps that follow."""
        ...

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(rows, *common)` of every shard, in the order of shards."""
        ...

    def shuffle(self, step: Callable[..., list[Bucket]], num_buckets: int, *common: Any) -> None:
        """Runs `step(rows, *common)` -> a piece for each bucket, and keeps them where `over_buckets` finds them."""
        ...

    def over_buckets(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(bucket, *common)` of every bucket that holds rows, joined and sorted by id; in the order of buckets."""
        ...

    def over_subproblems(
        self,
        buckets_by_subproblem: list[list[int]],
        step: Callable[..., Neighbors],
        commons: list[tuple],
        last: Callable,
        last_commons: list[tuple],
    ) -> list[Any]:
        """`last([step(bucket, *common) of its buckets], *last_common)` of every subproblem, in their order."""
        ...


class LocalRunner:
    """Runs every step in this process, on threads: the steps spend their time outside of Python."""

    def __init__(self, shards: Sequence[Shard], num_threads: int = 1) -> None:
        self._shards = shards
        self._rows: list[Rows] = []
        self._buckets: list[Bucket] = []
        self._num_threads = num_threads
        self._libraries = ThreadpoolController()

    def prepare(self, bad_rows: str) -> list[ShardSummary]:
        """See `Runner`."""
        prepared = self._map(lambda shard: prepare(shard, bad_rows), self._shards)
        self._rows = [rows for rows, _ in prepared]
        return [summary for _, summary in prepared]

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return self._map(lambda rows: step(rows, *common), self._rows)

    def shuffle(self, step: Callable[..., list[Bucket]], num_buckets: int, *common: Any) -> None:
        """See `Runner`."""
        pieces = self._map(lambda rows: step(rows, *common), self._rows)
        self._buckets = self._map(lambda bucket: join([p[bucket] for p in pieces]), range(num_buckets))

    def over_buckets(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return self._map(lambda bucket: step(bucket, *common), self._buckets)

    def over_subproblems(
        self,
        buckets_by_subproblem: list[list[int]],
        step: Callable[..., Neighbors],
        commons: list[tuple],
        last: Callable,
        last_commons: list[tuple],
    ) -> list[Any]:
        """See `Runner`."""
        return [
            last(self._map(lambda bucket, common=common: step(self._buckets[bucket], *common), buckets), *last_common)
            for buckets, common, last_common in zip(buckets_by_subproblem, commons, last_commons, strict=True)
        ]

    def _map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        if self._num_threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        # These threads are ours: a BLAS that adds its own for each small product waits more than it computes.
        with self._libraries.limit(limits=1, user_api="blas"), ThreadPoolExecutor(self._num_threads) as pool:
            return list(pool.map(function, items))
