"""What a search over settings of the selection looks for, and where."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.selection.spec import Count, Fraction, SelectSpec

PREFIX = "select."
# Keys that say what to select from and how much of it, not how: another value is another task, not a better answer.
FIXED_KEYS = ("budget", "include", "exclude", "labeled", "labels", "earlier", "round", "quotas", "bad_rows")
Settings = dict[str, Any]  # value by dotted key


class Range(Spec):
    """Any number between two bounds; whole numbers where the key takes no others."""

    low: int | float
    high: int | float
    log: bool = False  # drawn evenly by ratio rather than by difference

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low}: a range drawn by ratio (log) begins above 0")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that have to be valid for all others to be."""
        return (self.low, self.high)


class Choice(Spec):
    """One of some values."""

    values: Annotated[tuple[Any, ...], Field(min_length=1)]

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values


Axis = Range | Choice
DEFAULT_SPACE: dict[str, Axis] = {
    "select.lambda_align": Range(low=0.0, high=2.0),
    "select.lambda_div": Choice(values=(0.0, 0.05, 0.1, 0.25)),  # a range would never draw 0
}


class TuneSpec(Spec):
    """A search over keys of `select`. What counts as a label, and the classifier, are those of `evaluate`."""

    # Values to try by dotted key: {low, high, log} or {values}.
    space: Annotated[dict[str, Axis], Field(min_length=1)] = DEFAULT_SPACE
    # optuna: where earlier trials were good (TPE). random: anywhere. grid: every combination, of {values} alone.
    search: Literal["optuna", "random", "grid"] = "optuna"
    num_trials: Annotated[int, Field(ge=1)] = 20  # of a grid as many as it has
    # Suggestions are made this many at a time, so that they do not depend on the number of CPUs.
    num_at_once: Annotated[int, Field(ge=1)] = 4
    # Gives a trial up after some seeds where others do better (ASHA). Which ones depends on the order in which trials
    # come to their ends, so another run may try other settings.
    early_stop: bool = False
    # Shares of the part of the pool that is selected from, or counts; null = the share that select.budget is.
    budgets: tuple[Count | Fraction, ...] | None = None
    num_seeds: Annotated[int, Field(ge=2)] = 6  # of each trial
    num_check_seeds: Annotated[int, Field(ge=3)] = 12  # fresh ones, on which the best few meet the present settings
    num_finalists: Annotated[int, Field(ge=1)] = 3
    first_seed: Annotated[int, Field(ge=0, le=2**31)] = (
        10_000  # far from those of `evaluate`, which may judge the outcome
    )
    max_samples: Annotated[int, Field(ge=100)] = 12_000  # larger pools: of the samples of lowest hash

    @field_validator("space")
    @classmethod
    def _is_of_select(cls, space: dict[str, Axis]) -> dict[str, Axis]:
        for key, axis in space.items():
            name = key.removeprefix(PREFIX)
            if name == key:
                raise ValueError(
                    f"{key}: only keys of `select` can be tuned: all trials share the embeddings that are there"
                )
            if name.split(".")[0] in FIXED_KEYS:
                raise ValueError(f"{key}: says what to select, not how; it cannot be tuned")
            for value in axis.ends:
                try:
                    with_settings(SelectSpec(), {key: value})
                except ValidationError as error:
                    raise ValueError(f"{key}={value!r}: {error.errors()[0]['msg']}") from None
        return space

    @model_validator(mode="after")
    def _grid_is_finite(self) -> "TuneSpec":
        ranges = [key for key, axis in self.space.items() if isinstance(axis, Range)]
        if self.search == "grid" and ranges:
            raise ValueError(f"search=grid needs `values` for each key; {', '.join(ranges)} has a range")
        return self


def with_settings(select: SelectSpec, settings: Settings) -> SelectSpec:
    """The spec with other values of some dotted keys.

    Raises:
        ValidationError: a key is unknown, or a value does not fit.
    """
    content = select.model_dump()
    for key, value in settings.items():
        put(content, key.removeprefix(PREFIX), value)
    return SelectSpec.model_validate(content)


def put(content: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key; parts that are not there are made."""
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {})
    content[last] = value


def takes_whole_numbers(key: str, axis: Range) -> bool:
    """Whether a key takes no numbers between two whole ones."""
    try:
        with_settings(SelectSpec(), {key: axis.low + 0.4142 * (axis.high - axis.low)})
    except ValidationError:
        return True
    return False


def simulated(select: SelectSpec) -> SelectSpec:
    """The spec without what it says of the samples of this pool: trials select from other ones."""
    return SelectSpec.model_validate(select.model_dump(exclude={*FIXED_KEYS}) | {"budget": 1})


def settings_of(select: SelectSpec, keys: list[str]) -> Settings:
    """The values that a spec has of some dotted keys; None where its parts have no such key."""
    settings: Settings = {}
    for key in keys:
        value: Any = select
        for name in key.removeprefix(PREFIX).split("."):
            value = getattr(value, name, None)
        settings[key] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return settings
