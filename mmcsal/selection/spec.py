"""Parameters of Stage 2: which pairs to label first."""

from typing import Annotated

from pydantic import Field, field_validator

from mmcsal.contracts.spec import Spec

Count = Annotated[int, Field(ge=1, strict=True)]  # strict: 1.0 is no count, but a fraction out of range
Fraction = Annotated[float, Field(gt=0, lt=1)]


class SelectSpec(Spec):
    """Parameters of the objective `f = Cov + lambda_align * Align - lambda_div * Red` and of its solver."""

    # How many samples to select: a count, or a fraction of the samples that may still be selected.
    budget: Count | Fraction = 0.05
    # Weight of the alignment regularizer: picks whose modalities disagree are worth less.
    lambda_align: Annotated[float, Field(ge=0)] = 0.25
    # Weight of the extra diversity: picks close to an earlier pick are worth less. Coverage alone already has
    # diminishing returns; 0.25 may help on long tails.
    lambda_div: Annotated[float, Field(ge=0)] = 0.0
    # Only the tail is punished: every alignment score from this value upwards counts as fully aligned.
    align_threshold: Annotated[float, Field(gt=0, le=1)] = 0.3
    # Multiply lambda_align by clip((separation - .6) / .3, 0, 1): where own pairs cannot be told from shuffled
    # pairs, the alignment score is noise and must not steer the selection.
    scale_by_confidence: bool = True
    # Samples whose similarities form the profile that alignment compares; 2048-4096 for fine-grained pools.
    num_anchors: Annotated[int, Field(ge=8, le=8192)] = 1024
    # Pools up to this many rows are solved as one cell; no cell of a larger pool holds more. The memory of a
    # task grows with its square (two bytes a pair of rows).
    max_cell_size: Annotated[int, Field(ge=16, le=32768)] = 8192
    # Up to this many rows a pick every row takes part in the selection; with more, 1/2 of this many rows a pick do
    # (those of lowest hash), and an exchange pass moves each pick to the best medoid of what it covers.
    max_rows_per_pick: Annotated[int, Field(ge=16)] = 1024

    @field_validator("budget", mode="before")
    @classmethod
    def _no_bool(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("budget must be a count >= 1 or a fraction in (0, 1)")
        return value
