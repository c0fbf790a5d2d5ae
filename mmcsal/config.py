"""The run configuration: YAML, then dotted overrides, then one validation.

Each part of it is the frozen spec of the thing that it configures, declared beside that thing; this file only puts
them together, so it stands above them in the layers.
"""

import copy
import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.datasets import CorpusSpec
from mmcsal.datasets.manifest_file import MANIFEST_SUFFIXES
from mmcsal.evaluation.spec import EvaluateSpec
from mmcsal.media.spec import MediaSpec
from mmcsal.models import ModelSpec
from mmcsal.report.spec import ReportSpec
from mmcsal.selection.spec import SelectSpec
from mmcsal.storage.uri import StorageSpec, open_uri
from mmcsal.training.finetune.spec import FinetuneSpec
from mmcsal.training.spec import PretrainSpec
from mmcsal.tuning.spec import TuneSpec

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

    run_dir: str = "runs/default"
    seed: int = Field(default=0, ge=0)
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
            content["corpus"] = _corpus_with_kind(content["corpus"])
        _fill_kinds(content, cls.model_fields)
        return content


def load_config(paths: str | Sequence[str] | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a YAML file, or of several (later ones win), with `dotted.key=value` overrides on top.

    Args: paths: none = the defaults.
    Raises: InputError: a file cannot be read, an override has no `=`, a key is unknown, or a value does not
        fit; all that is wrong is told at once.
    """
    paths = [paths] if isinstance(paths, str) else list(paths or [])
    storage = storage_of(overrides)
    content: dict[str, Any] = {}
    for path in paths:
        content = _merged(content, _read_yaml(path, storage))
    return _validated(content, overrides, ", ".join(paths) or "the configuration")


def storage_of(overrides: Sequence[str]) -> StorageSpec:
    """How the overrides say object stores are reached: a configuration that lies on one cannot say it itself.

    Raises: InputError: see `load_config`.
    """
    return _validated({}, [o for o in overrides if o.strip().startswith("storage")], "the configuration").storage


def _validated(content: dict[str, Any], overrides: Sequence[str], where: str) -> RunConfig:
    for override in overrides:
        _apply_override(content, override)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: " + "; ".join(_describe(e) for e in error.errors())) from error


def to_yaml(config: RunConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_yaml(path: str, storage: StorageSpec) -> dict[str, Any]:
    filesystem, place = open_uri(path, storage, what="config file")
    try:
        with filesystem.open_input_file(place) as stream:
            content = yaml.safe_load(stream.read().decode())
    except OSError as error:
        raise InputError(f"config file {path!r} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config file {path!r} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"config file {path!r} holds a {type(content).__name__}, expected `key: value` lines")
    return content


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Key by key; a part of another kind replaces the one below it whole."""
    if below.get("kind", above.get("kind")) != above.get("kind", below.get("kind")):
        return above
    both = {key: _merged(below[key], above[key]) for key in below if _are_parts(below[key], above.get(key))}
    return {**below, **above, **both}


def _are_parts(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _set_default(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {}) if isinstance(content, dict) else content
    if isinstance(content, dict):
        content.setdefault(last, value)


def _corpus_with_kind(corpus: Any) -> Any:
    """A path alone is a folder, or the manifest that its suffix says it is."""
    if isinstance(corpus, str):
        corpus = {"path": corpus}
    if isinstance(corpus, dict) and "kind" not in corpus:
        is_table = Path(str(corpus.get("path"))).suffix.lower() in MANIFEST_SUFFIXES
        corpus = {"kind": "manifest" if is_table else "folder", **corpus}
    return corpus


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


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        raise InputError(f"override {override!r} is not of the form key=value, such as select.budget=0.05")
    *parents, last = key.strip().split(".")
    for name in parents:
        if not isinstance(content.get(name), dict):
            content[name] = {}
        content = content[name]
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"override {override!r}: the value is not YAML: {' '.join(str(error).split())}") from error


def _describe(error: Any) -> str:
    key = _dotted(error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']}, got {_shortened(error['input'])}"
    known = sorted(set(_dotted_keys(RunConfig)))
    close = [k for k in known if k.endswith(f".{key}")] or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    told = " or ".join(map(repr, close[:3]))
    return f"unknown key {key!r}" + (f"; did you mean {told}?" if close else "; see ray_config.yaml for all keys")


def _dotted(location: tuple[str | int, ...]) -> str:
    """The key as the user wrote it: pydantic puts the kind of a union's member between the names."""
    kinds = _kinds(RunConfig) - {key.split(".")[-1] for key in _dotted_keys(RunConfig)}
    *parents, last = location
    return ".".join(str(part) for part in [*(p for p in parents if p not in kinds), last])


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _dotted_keys(inner, f"{prefix}{name}.")


def _kinds(model: type[BaseModel]) -> set[str]:
    """The values of all `kind` keys below a model."""
    kinds: set[str] = set()
    for name, field in model.model_fields.items():
        if name == "kind":
            kinds |= set(typing.get_args(field.annotation))
        for inner in _models_in(field.annotation):
            kinds |= _kinds(inner)
    return kinds


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The configuration classes that a type mentions: itself, or the members of its union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
