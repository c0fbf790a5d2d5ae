"""Where the steps of a selection run: the protocol that every runner fills, and the one of this process.

Steps are pure functions of a shard, a bag or a region; a runner never changes what they return.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from threadpoolctl import ThreadpoolController

from mmcsal.selection.scaleout.buckets import Bag, join
from mmcsal.selection.scaleout.neighbors import Links
from mmcsal.selection.scaleout.shard import Rows, Shard, Survey, prepare


class Runner(Protocol):
    """Where steps run: in this process, or as tasks on a cluster."""

    def prepare(self, bad_rows: str) -> list[Survey]:
        """Reads, checks and quantises every shard, once, and keeps its rows for the steps that follow."""
        ...

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(rows, *common)` of every shard, in the order of shards."""
        ...

    def shuffle(self, step: Callable[..., list[Bag]], num_bags: int, *common: Any) -> None:
        """Runs `step(rows, *common)` -> a piece for each bag, and keeps the pieces where `over_bags` finds them."""
        ...

    def over_bags(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """`step(bag, *common)` of every bag that holds rows, joined and sorted by id; in the order of bags."""
        ...

    def over_regions(
        self,
        bags_by_region: list[list[int]],
        step: Callable[..., Links],
        commons: list[tuple],
        last: Callable,
        jobs: list[tuple],
    ) -> list[Any]:
        """`last([step(bag, *common) of the region's bags], *job)` of every region, in their order."""
        ...


class LocalRunner:
    """Runs every step in this process, on threads: the steps spend their time outside of Python."""

    def __init__(self, shards: Sequence[Shard], num_threads: int = 1) -> None:
        self._shards = shards
        self._rows: list[Rows] = []
        self._bags: list[Bag] = []
        self._num_threads = num_threads
        self._libraries = ThreadpoolController()

    def prepare(self, bad_rows: str) -> list[Survey]:
        """See `Runner`."""
        prepared = self._map(lambda shard: prepare(shard, bad_rows), self._shards)
        self._rows = [rows for rows, _ in prepared]
        return [survey for _, survey in prepared]

    def over_shards(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return self._map(lambda rows: step(rows, *common), self._rows)

    def shuffle(self, step: Callable[..., list[Bag]], num_bags: int, *common: Any) -> None:
        """See `Runner`."""
        pieces = self._map(lambda rows: step(rows, *common), self._rows)
        self._bags = self._map(lambda bag: join([p[bag] for p in pieces]), range(num_bags))

    def over_bags(self, step: Callable[..., Any], *common: Any) -> list[Any]:
        """See `Runner`."""
        return self._map(lambda bag: step(bag, *common), self._bags)

    def over_regions(
        self,
        bags_by_region: list[list[int]],
        step: Callable[..., Links],
        commons: list[tuple],
        last: Callable,
        jobs: list[tuple],
    ) -> list[Any]:
        """See `Runner`."""
        return [
            last(self._map(lambda bag, common=common: step(self._bags[bag], *common), bags), *job)
            for bags, common, job in zip(bags_by_region, commons, jobs, strict=True)
        ]

    def _map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        if self._num_threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        # These threads are ours: a BLAS that adds its own for each small product waits more than it computes.
        with self._libraries.limit(limits=1, user_api="blas"), ThreadPoolExecutor(self._num_threads) as pool:
            return list(pool.map(function, items))
