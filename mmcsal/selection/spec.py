"""Parameters of Stage 2: which pairs to label first."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from mmcsal.contracts.spec import Spec
from mmcsal.selection.objective.alignment import Score
from mmcsal.selection.strategies import Strategy
from mmcsal.selection.strategies.mmcsal import MmcsalSpec

Count = Annotated[int, Field(ge=1, strict=True)]  # strict: 1.0 is no count, but a fraction out of range
Fraction = Annotated[float, Field(gt=0, lt=1)]
Ids = tuple[str, ...] | str  # ids, or the path of a .txt, .csv or .parquet file of them


class TotalCost(Spec):
    """A budget in the unit of the samples' costs (hours of annotation, money)."""

    cost: Annotated[float, Field(gt=0)]


class Quota(Spec):
    """How many picks one value of a column must and may have."""

    column: str  # of the manifest, such as `source`; or of what the caller passes as `columns`
    value: str
    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _has_room(self) -> "Quota":
        if self.max is not None and self.max < self.min:
            raise ValueError(f"quota of {self.column}={self.value!r}: max {self.max} is below min {self.min}")
        return self


class Rho(Spec):
    """A mixed coverage."""

    rho: Annotated[float, Field(ge=0, le=1)]  # share of the joint coverage; the rest is that of each modality


class SelectSpec(Spec):
    """Parameters of the objective `f = Cov + lambda_align * Align - lambda_div * Red` and of its solver."""

    # How many samples to select: a count, a fraction of the samples that may still be selected, or {cost: total}.
    budget: Count | Fraction | TotalCost = 0.05
    # joint: a sample stands for those that are like it in both modalities. separate: for those that are like it in one,
    # and in the other. {rho: .5}: half of each. auto: rho, at least .5, by how well own pairs are told from others.
    coverage: Literal["auto", "joint", "separate"] | Rho = "joint"
    # What each modality counts where coverage is not joint, such as {video: 1, audio: .3}; auto: the same.
    modality_weights: Literal["auto"] | dict[str, Annotated[float, Field(ge=0)]] = "auto"
    # Weight of the alignment regularizer: picks whose modalities disagree are worth less.
    lambda_align: Annotated[float, Field(ge=0)] = 0.5
    # Weight of the extra diversity: picks close to an earlier pick are worth less. Coverage alone already has
    # diminishing returns; 0.25 may help on long tails.
    lambda_div: Annotated[float, Field(ge=0)] = 0.0
    # anchors: do both modalities place a sample near the same samples? Needs no shared space. cosine and prototypes
    # compare the two vectors of a pair, and need encoders that share one space. evidence: what training has seen of the
    # pair, or scores of one's own. auto: evidence where there is some with decoys, else anchors.
    align_score: Literal["auto", "evidence", "anchors", "prototypes", "cosine"] = "auto"
    # hinge: a bonus up to the threshold. discount: what a pick covers counts less below it. gate: below it only
    # when nothing else is left. linear: a bonus over the whole range, which rewards easy samples: to compare with.
    align_form: Literal["hinge", "discount", "gate", "linear"] = "hinge"
    # What a score means: its place among shuffled pairs (evidence: among decoys), or among the pool's own pairs
    # (percentile; punishes rare classes).
    align_calibration: Literal["shuffled", "percentile"] = "shuffled"
    # Every alignment score from this value upwards counts as fully aligned. auto: .3 where pairs look right, up to .9
    # where a fifth of them or more looks mispaired.
    align_threshold: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    # Less weight where own pairs cannot be told from shuffled pairs: there the score is noise and must not steer.
    scale_by_confidence: bool = True
    # Samples whose similarities form the profile that alignment compares; 2048-4096 for fine-grained pools.
    num_anchors: Annotated[int, Field(ge=8, le=8192)] = 512
    # Samples of dense places count density^-tempering: 0 = every sample counts once, .5 helps rare classes.
    tempering: Annotated[float, Field(ge=0, le=1)] = 0.0
    # Picks that are this close to an earlier pick (kernel in [0, 1]) are taken only when nothing else is left.
    duplicate_kernel: Annotated[float, Field(gt=0, le=1)] = 0.98
    # Ids that are in the batch whatever they are worth, and ids that never are (they still count as pool).
    include: Ids = ()
    exclude: Ids = ()
    # Ids that have labels already: they cover what lies around them, and are never selected.
    labeled: Ids = ()
    # A .csv or .parquet file of labels (sample_id, label): its samples are `labeled`, and warm starts learn from it.
    labels: str | None = None
    # Folders of selections of earlier rounds: what was picked there and has no label is not picked again.
    earlier: tuple[str, ...] = ()
    # Stands in the column `round` of the selection; 0 = the cold start.
    round: Annotated[int, Field(ge=0)] = 0
    # Least and largest numbers of picks by value of a column.
    quotas: tuple[Quota, ...] = ()
    # What to do with rows whose vectors are missing, zero or not finite: stop, or leave them out as rejects.
    bad_rows: Literal["error", "reject"] = "error"
    strategy: Strategy = MmcsalSpec()

    @property
    def uses_evidence(self) -> bool:
        """Whether scores that were made before selection are wanted, where there are some."""
        return self.align_score in ("auto", "evidence")

    @property
    def embedding_score(self) -> Score:
        """By what alignment is told from the embeddings."""
        return "anchors" if self.align_score in ("auto", "evidence") else self.align_score

    @field_validator("budget", mode="wrap")
    @classmethod
    def _told_as_one(cls, value: object, validate: ValidatorFunctionWrapHandler) -> object:
        """Of a union pydantic would tell what each of its members finds wrong, by the names of their classes."""
        try:
            return validate(None if isinstance(value, bool) else value)
        except ValidationError as error:
            raise ValueError("expected a count of at least 1, a fraction between 0 and 1, or {cost: total}") from error

    @field_validator("quotas")
    @classmethod
    def _one_quota_a_value(cls, quotas: tuple[Quota, ...]) -> tuple[Quota, ...]:
        seen = [(q.column, q.value) for q in quotas]
        repeated = sorted({key for key in seen if seen.count(key) > 1})
        if repeated:
            raise ValueError(f"more than one quota of {', '.join(f'{c}={v!r}' for c, v in repeated)}")
        return quotas
