"""The run configuration: YAML, then dotted overrides (`config_source`), then one validation.

Each part of it is the frozen spec of the thing that it configures, declared beside that thing; this file only puts
them together, so it stands above them in the layers.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from mmcsal.config_source import THE_CONFIGURATION, Content, corpus_with_kind, read_content, validated_as
from mmcsal.contracts.spec import Spec
from mmcsal.datasets import CorpusSpec
from mmcsal.evaluation.spec import EvaluateSpec
from mmcsal.media.spec import MediaSpec
from mmcsal.models import ModelSpec
from mmcsal.report.spec import ReportSpec
from mmcsal.selection.spec import SelectSpec
from mmcsal.storage import DEFAULT_RUN_DIR
from mmcsal.storage.uri import StorageSpec
from mmcsal.training.finetune.spec import FinetuneSpec
from mmcsal.training.spec import PretrainSpec
from mmcsal.tuning.spec import TuneSpec

MAX_SEED = 2**32 - 1  # what every generator takes
SAMPLE_RATE_READERS = (
    "model.audio.log_mel.sample_rate_hz",
    "pretrain.augment.sample_rate_hz",
    "finetune.augment.sample_rate_hz",
)


class ClusterSpec(Spec):
    """Which Ray cluster runs the job."""

    address: str | None = None  # null = the cluster of RAY_ADDRESS or of `ray job submit`, else a Ray of this machine
    num_cpus: int | None = Field(default=None, ge=1)  # of a Ray of this machine; null = all cores
    # Whether training and embedding ask for GPUs; auto: where the cluster has some, or tells that it may scale to some
    use_gpus: Literal["auto"] | bool = "auto"
    wait_s: float = Field(default=600.0, gt=0)  # for a cluster to scale to what a stage needs at least


class IngestSpec(Spec):
    """How the corpus is decoded."""

    # The unit of work, of commit and of resume; a worker holds this many clips in memory.
    samples_per_partition: int = Field(default=64, ge=1)
    num_workers: int | None = Field(default=None, ge=1)  # decoders at a time; null = every CPU of the cluster


class EmbedSpec(Spec):
    """How the pool is embedded."""

    batch_size: int = Field(default=64, ge=1)
    num_workers: int | None = Field(default=None, ge=1)  # null = every CPU of the cluster
    # Moves both modalities by half the distance of their centroids: closes the modality gap after training.
    centroid_shift: bool = False


class RunConfig(Spec):
    """Everything that a run depends on; saved with the run as `config.yaml`."""

    run_dir: str = DEFAULT_RUN_DIR
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    max_reject_fraction: float = Field(default=0.8, ge=0, le=1)
    corpus: CorpusSpec | None = None
    embeddings: str | None = None  # Parquet files of any encoder: the run then begins with `select`
    manifest: str | None = None  # MANIFEST of these embeddings' samples: where they lie, costs, what quotas count
    media: MediaSpec = MediaSpec()
    ingest: IngestSpec = IngestSpec()
    model: ModelSpec = ModelSpec()
    pretrain: PretrainSpec = PretrainSpec()
    embed: EmbedSpec = EmbedSpec()
    select: SelectSpec = SelectSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    tune: TuneSpec = TuneSpec()
    finetune: FinetuneSpec = FinetuneSpec()
    report: ReportSpec = ReportSpec()
    cluster: ClusterSpec = ClusterSpec()
    storage: StorageSpec = StorageSpec()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Fills in what follows from other keys, so that the user need not repeat it."""
        if not isinstance(content, dict):
            return content
        content = copy.deepcopy(content)
        match content:
            # Clips are resampled once; whoever reads their sound takes the rate from there unless told another.
            case {"media": {"sample_rate_hz": sample_rate_hz}}:
                for key in SAMPLE_RATE_READERS:
                    _set_default(content, key, sample_rate_hz)
        if "corpus" in content:
            content["corpus"] = corpus_with_kind(content["corpus"])
        _fill_kinds(content, cls.model_fields)
        return content


def load_config(paths: str | Sequence[str] | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a YAML file, or of several (later ones win), with `dotted.key=value` overrides on top.

    Args:
        paths: none = the defaults.

    Raises:
        InputError: a file cannot be read, an override has no `=`, a key is unknown, or a value does not fit; all that
            is wrong is told at once.
    """
    paths = [paths] if isinstance(paths, str) else list(paths or [])
    return validated(read_content(paths, overrides), paths)


def validated(content: Content, paths: Sequence[str]) -> RunConfig:
    """The configuration of what was read from `paths`; see `load_config`."""
    return validated_as(RunConfig, content, ", ".join(paths) or THE_CONFIGURATION)


def to_yaml(config: RunConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _set_default(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {}) if isinstance(content, dict) else content
    if isinstance(content, dict):
        content.setdefault(last, value)


def _fill_kinds(content: dict[str, Any], fields: dict[str, FieldInfo]) -> None:
    """Gives parts that name no `kind` the default one: `model.audio.num_time_steps=16` alone is clear enough."""
    for name, field in fields.items():
        part, default = content.get(name), field.default
        if not (isinstance(part, dict) and isinstance(default, BaseModel)):
            continue
        default_kind = getattr(default, "kind", None)
        if default_kind is not None:
            part.setdefault("kind", default_kind)
        if part.get("kind") == default_kind:
            _fill_kinds(part, type(default).model_fields)
