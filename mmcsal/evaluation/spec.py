"""What an evaluation compares: strategies, budgets, seeds."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.selection.spec import Count, Fraction, SelectSpec
from mmcsal.selection.strategies import ColdStart, WarmStart, specs_of

Modality = Literal["both", "a", "v"]
BOTH: Modality = "both"


class Contender(Spec):
    """One strategy as it takes part: keys of `select`, and which modality it sees."""

    name: str
    select: dict[str, Any] = Field(default_factory=dict)  # as under `select` in the run configuration
    modality: Modality = BOTH  # a, v: the selection sees that one alone; the classifier always learns from both
    embeddings: str | None = None  # a folder of other embeddings that the selection sees; the classifier does not

    @field_validator("select")
    @classmethod
    def _is_valid(cls, select: dict[str, Any]) -> dict[str, Any]:
        try:
            SelectSpec.model_validate({**select, "budget": 1})
        except ValidationError as error:
            raise ValueError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
        return select

    @property
    def spec(self) -> SelectSpec:
        """With a budget of one, which every trial replaces."""
        return SelectSpec.model_validate({**self.select, "budget": 1})

    @property
    def is_warm_start(self) -> bool:
        """Whether it needs the labels of a smaller budget."""
        return isinstance(self.spec.strategy, WarmStart)


BASELINE, OURS = "random", "mmcsal"


def _as_used(kind: str) -> Contender:
    """A method as it is used elsewhere: it knows nothing of alignment, which is a term of MMCSAL's own."""
    if kind == OURS:
        return Contender(name=kind)
    alignment = {} if kind == "parametric" else {"lambda_align": 0}  # MMCSAL too, by another solver
    return Contender(name=kind, select={"strategy": {"kind": kind}, **alignment})


# In the order of the unions, from which they follow: a new strategy is compared without a line here.
COLD_START = tuple(map(_as_used, specs_of(ColdStart)))
WARM_START = tuple(map(_as_used, specs_of(WarmStart)))
UNIMODAL = tuple(
    contender.model_copy(update={"name": f"{contender.name}_{modality}", "modality": modality})
    for contender in COLD_START
    if contender.name != BASELINE
    for modality in ("a", "v")
)
ABLATIONS = (
    Contender(name="mmcsal_no_alignment", select={"lambda_align": 0}),
    Contender(name="mmcsal_no_swaps", select={"strategy": {"kind": "mmcsal", "max_swap_passes": 0}}),
)
GROUPS = {"cold_start": COLD_START, "warm_start": WARM_START, "unimodal": UNIMODAL, "ablations": ABLATIONS}


class EvaluateSpec(Spec):
    """Strategies x budgets x seeds, on embeddings with labels."""

    # A .csv or .parquet file with a column sample_id; null = the labels of the manifest.
    labels: str | None = None
    label_column: str = "label"
    # Says of pairs whether their modalities belong together: those that do not are never tested. It may be missing.
    aligned_column: str = "aligned"
    groups: tuple[Literal["cold_start", "warm_start", "unimodal", "ablations"], ...] = ("cold_start",)
    contenders: tuple[Contender, ...] = ()  # further ones
    # Shares of the pool that is left when the test split is taken out, or counts; rising.
    budgets: tuple[Count | Fraction, ...] = (0.01, 0.05, 0.1, 0.2)
    num_seeds: Annotated[int, Field(ge=1, le=10_000)] = 10
    first_seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 1 / 3  # of each class
    probe_c: Annotated[float, Field(gt=0)] = 10.0  # inverse of the regularisation of the classifier

    @field_validator("budgets")
    @classmethod
    def _rise(cls, budgets: tuple[int | float, ...]) -> tuple[int | float, ...]:
        if not budgets or len({type(budget) for budget in budgets}) > 1 or list(budgets) != sorted(set(budgets)):
            raise ValueError("budgets must rise, all shares or all counts")
        return budgets

    @model_validator(mode="after")
    def _names_differ(self) -> "EvaluateSpec":
        names = [contender.name for contender in self.all_contenders]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"contenders {', '.join(repeated)} are named twice")
        if BASELINE not in names:
            raise ValueError(
                f"groups and contenders are {names or 'empty'}, without {BASELINE!r}, with which the others are "
                "compared; add the group cold_start, or a contender of that name"
            )
        return self

    @property
    def all_contenders(self) -> tuple[Contender, ...]:
        """Of the groups, then the further ones."""
        return (*(contender for group in self.groups for contender in GROUPS[group]), *self.contenders)
