"""What a configuration says before it is validated: YAML files and dotted overrides as one plain dict.

Apart from `config`, which imports every stage's spec and with them PyTorch: a wrong path is told without.
"""

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.datasets.manifest_file import MANIFEST_SUFFIXES
from mmcsal.storage.uri import StorageSpec, open_uri

Content = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
THE_CONFIGURATION = "the configuration"  # in errors, where no file is to blame


class _StorageOnly(Spec):
    """The part of the configuration that says how the rest of it is reached."""

    storage: StorageSpec = StorageSpec()


def read_content(paths: Sequence[str], overrides: Sequence[str]) -> Content:
    """The content of YAML files (later ones win) with `dotted.key=value` overrides on top.

    Raises:
        InputError: a file cannot be read, or an override has no `=`.
    """
    storage = storage_of(overrides)
    content: Content = {}
    for path in paths:
        content = _merged(content, _read_yaml(path, storage))
    for override in overrides:
        _apply_override(content, override)
    return content


def storage_of(overrides: Sequence[str]) -> StorageSpec:
    """How the overrides say object stores are reached: a configuration that lies on one cannot say it itself.

    Raises:
        InputError: an override has no `=`, a key is unknown, or a value does not fit.
    """
    content: Content = {}
    for override in overrides:
        if override.strip().startswith("storage"):
            _apply_override(content, override)
    return validated_as(_StorageOnly, content, THE_CONFIGURATION).storage


def validated_as(model: type[Model], content: Content, where: str) -> Model:
    """The content as a model, all of it valid.

    Raises:
        InputError: all that is wrong in one line; `where` says in which files.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: " + "; ".join(_describe(e, model) for e in error.errors())) from error


def corpus_with_kind(corpus: Any) -> Any:
    """A path alone is a folder, or the manifest that its suffix says it is."""
    if isinstance(corpus, str):
        corpus = {"path": corpus}
    if isinstance(corpus, dict) and "kind" not in corpus:
        is_table = Path(str(corpus.get("path"))).suffix.lower() in MANIFEST_SUFFIXES
        corpus = {"kind": "manifest" if is_table else "folder", **corpus}
    return corpus


def _read_yaml(path: str, storage: StorageSpec) -> Content:
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


def _merged(below: Content, above: Content) -> Content:
    """Key by key; a part of another kind replaces the one below it whole."""
    if below.get("kind", above.get("kind")) != above.get("kind", below.get("kind")):
        return above
    both = {key: _merged(below[key], above[key]) for key in below if _are_parts(below[key], above.get(key))}
    return {**below, **above, **both}


def _are_parts(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _apply_override(content: Content, override: str) -> None:
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


def _describe(error: Any, model: type[BaseModel]) -> str:
    key = _dotted(error["loc"], model)
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']}, got {_shortened(error['input'])}"
    known = sorted(set(_dotted_keys(model)))
    close = [k for k in known if k.endswith(f".{key}")] or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    suggestion = " or ".join(map(repr, close[:3]))
    return f"unknown key {key!r}" + (f"; did you mean {suggestion}?" if close else "; see ray_config.yaml for all keys")


def _dotted(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """The key as the user wrote it: pydantic puts the kind of a union's member between the names."""
    kinds = _kinds(model) - {key.split(".")[-1] for key in _dotted_keys(model)}
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
