"""Parameters of fine-tuning the encoders on labels."""

from typing import ClassVar, Literal

from pydantic import Field

from mmcsal.training.augment import AugmentSpec
from mmcsal.training.batch_spec import BatchSpec


class FinetuneSpec(BatchSpec):
    """How the downstream classifier learns from labeled clips. The seed is the run's, and so are the encoders."""

    section: ClassVar[str] = "finetune"

    # A .csv or .parquet file with a column sample_id; null = the labels of the manifest.
    labels: str | None = None
    label_column: str = "label"
    # Says of pairs whether their modalities belong together: those that do not are never tested. It may be missing.
    aligned_column: str = "aligned"
    test_fraction: float = Field(default=1 / 3, gt=0, lt=1)  # of each class, held out; as `mmcsal evaluate` does
    encoders: Literal["pretrained", "scratch"] = "pretrained"  # scratch: as drawn, to see what pretraining is worth
    epochs: int = Field(default=20, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)  # of the linear layers, which begin at zero
    encoder_learning_rate: float = Field(default=3e-4, ge=0)  # 0 = the encoders stay as they are
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)  # of all steps; then a cosine to zero
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip_norm: float = Field(default=5.0, gt=0)
    augment: AugmentSpec = AugmentSpec()
