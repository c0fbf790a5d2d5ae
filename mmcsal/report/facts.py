"""What a report says of a run, as plain values: the seam between reading tables and drawing them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

BEFORE_TRAINING = -1  # the epoch under which METRIC keeps what was measured before training


@dataclass(frozen=True)
class Pick:
    """One row of SELECTION."""

    rank: int
    sample_id: str
    uri: str | None
    gain: float
    coverage: float
    alignment: float
    redundancy: float
    mass: float
    nearest_selected: str | None
    reason: str
    round: int
    runner_up: str | None = None  # the best sample in its place
    cost: float | None = None

    @property
    def number(self) -> int:
        """The rank as people count: the first pick is 1."""
        return self.rank + 1


@dataclass(frozen=True)
class ContactClip:
    """What there is to see and hear of one pick; a part that the run does not keep is None."""

    pick: Pick
    frames_THWC: np.ndarray | None = None
    sound_L: np.ndarray | None = None
    sample_rate_hz: int = 16_000  # of the sound
    duration_s: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class RejectCount:
    """How many samples were rejected for one reason, and one of them."""

    reason: str
    count: int
    stages: tuple[str, ...]
    example: str
    example_detail: str


@dataclass(frozen=True)
class Series:
    """One metric of one stage over epochs; `epochs` is empty where the stage has none."""

    stage: str
    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def before(self) -> float | None:
        """The value before training, where it was measured."""
        return self.values[0] if self.epochs and self.epochs[0] == BEFORE_TRAINING else None

    @property
    def first(self) -> float:
        return self.values[0]

    @property
    def last(self) -> float:
        return self.values[-1]


@dataclass(frozen=True)
class StageRun:
    """How one stage went; what its receipt does not say is None."""

    name: str
    state: str  # done, resumed (done by more than one attempt), or not finished
    wall_s: float | None = None  # of the attempt that completed it
    num_items: int | None = None
    unit: str = "samples"  # of the items, in the plural
    num_retries: int | None = None  # within that attempt
    num_workers: int | None = None

    @property
    def rate_hz(self) -> float | None:
        """Items per second; unknown for a stage that an earlier attempt did a part of."""
        return self.num_items / self.wall_s if self.num_items and self.wall_s and self.state == "done" else None


@dataclass(frozen=True)
class MapPoints:
    """The pool (a sample of it) and the picks on the plane that shows most of the joint embedding's spread."""

    pool_N2: np.ndarray
    picks_P2: np.ndarray
    rank_P: np.ndarray
    explained_2: tuple[float, float]  # share of the variance on each axis

    @property
    def num_points(self) -> int:
        return len(self.pool_N2) + len(self.picks_P2)


@dataclass(frozen=True)
class RunFacts:
    """Everything that the report says of one run. A count is None where its table is absent."""

    run_name: str
    picks: tuple[Pick, ...]  # the first ones, by rank
    num_selected: int
    round: int
    selected_at: str | None
    summary: dict[str, Any]
    modalities: tuple[str, ...]
    num_scanned: int | None = None
    num_clips: int | None = None
    num_pool: int | None = None
    rejects: tuple[RejectCount, ...] | None = None
    contact: tuple[ContactClip, ...] = ()
    map_points: MapPoints | None = None
    series: tuple[Series, ...] = ()
    stage_runs: tuple[StageRun, ...] = ()
    config_text: str | None = None
    notes: tuple[str, ...] = field(default=())  # what is absent or unfinished, one sentence each

    @property
    def num_rejected(self) -> int | None:
        return None if self.rejects is None else sum(r.count for r in self.rejects)

    def series_named(self, prefix: str) -> list[Series]:
        """The metrics over epochs whose name starts with `prefix`; the bare name first, then by name."""
        found = [s for s in self.series if s.epochs and s.name.startswith(prefix)]
        return sorted(found, key=lambda s: (s.stage, s.name != prefix, s.name))

    def other_series(self) -> list[Series]:
        """The metrics that no figure shows."""
        drawn = ("loss", "gap", "recall_at_1")
        return [s for s in self.series if not (s.epochs and s.name.startswith(drawn))]
