"""What a configuration says before it is validated: YAML files and dotted overrides as one plain dict.

Apart from `config`, which imports every stage's spec and with them PyTorch: a wrong path is told without.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.datasets.manifest_file import MANIFEST_SUFFIXES
from mmcsal.redaction import has_secret
from mmcsal.safe_yaml import MAX_BYTES, parse_yaml
from mmcsal.storage.uri import NO_SECRETS, StorageSpec, open_file

Content = dict[str, Any]
Override = str | tuple[str, Any]  # `dotted.key=YAML`, or a key and its very value
Model = TypeVar("Model", bound=BaseModel)
THE_CONFIGURATION = "the configuration"  # in errors, where no file is to blame
_COMMENT = re.compile(r"(^|\s)#")
MAX_INTEGER = 2**53  # beyond, JSON and floats lose the last digits


class _StorageOnly(Spec):
    """The part of the configuration that says how the rest of it is reached."""

    storage: StorageSpec = StorageSpec()


def read_content(paths: Sequence[str], overrides: Sequence[Override], *, of_run: bool = False) -> Content:
    """The content of YAML files (later ones win) with `dotted.key=value` overrides on top.

    Args:
        of_run: the files lie in a run directory: whoever wrote it does not say where the next command writes, nor
            which cluster it joins.

    Raises:
        InputError: a file cannot be read, an override has no `=`, a URI carries a secret, a number is absurd.
    """
    storage = storage_of(overrides)
    content: Content = {}
    for path in paths:
        content = _merged(content, _read_yaml(path, storage))
    if of_run:
        content.pop("run_dir", None)
        if isinstance(content.get("cluster"), dict):
            content["cluster"].pop("address", None)
    for override in overrides:
        _apply_override(content, override)
    for key, value in _values(content):
        if isinstance(value, str) and has_secret(value):
            raise InputError(f"{key}: {value!r} {NO_SECRETS}")
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise InputError(f"{key}: {_shortened(value)} is too large a number; expected at most {MAX_INTEGER}")
    return content


def _values(part: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values that are no parts, with their dotted keys."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else None
    if inside is None:
        yield key, part
        return
    for name, value in inside:
        yield from _values(value, f"{key}.{name}" if key else str(name))


def storage_of(overrides: Sequence[Override]) -> StorageSpec:
    """How the overrides say object stores are reached: a configuration that lies on one cannot say it itself.

    Raises:
        InputError: an override has no `=`, a key is unknown, or a value does not fit.
    """
    content: Content = {}
    for override in overrides:
        if isinstance(override, str) and override.strip().startswith("storage"):
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
        raise InputError(f"{where}: " + "; ".join(_descriptions(error, model))) from error


def corpus_with_kind(corpus: Any) -> Any:
    """A path alone is a folder, or the manifest that its suffix says it is."""
    if isinstance(corpus, str):
        corpus = {"path": corpus}
    if isinstance(corpus, dict) and "kind" not in corpus:
        is_table = Path(str(corpus.get("path"))).suffix.lower() in MANIFEST_SUFFIXES
        corpus = {"kind": "manifest" if is_table else "folder", **corpus}
    return corpus


def _read_yaml(path: str, storage: StorageSpec) -> Content:
    try:
        with open_file(path, storage, what="config file") as stream:
            content = parse_yaml(stream.read(MAX_BYTES + 1))
    except OSError as error:
        raise InputError(f"config file {path!r} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"config file {path!r} is not YAML as a configuration needs it: {error}") from error
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


def _apply_override(content: Content, override: Override) -> None:
    key, value = override if isinstance(override, tuple) else _parsed(override)
    *parents, last = key.split(".")
    for name in parents:
        if not isinstance(content.get(name), dict):
            content[name] = {}
        content = content[name]
    content[last] = value


def _parsed(override: str) -> tuple[str, Any]:
    key, separator, value = override.partition("=")
    key = key.strip()
    if not separator or not all(key.split(".")):
        raise InputError(f"override {override!r} is not of the form key=value, such as select.budget=0.05")
    if _COMMENT.search(value) and not value.lstrip().startswith(("'", '"', "[", "{")):
        raise InputError(f"override {override!r}: what stands behind # is a comment to YAML; put the value in quotes")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise InputError(f"override {override!r}: the value is not YAML: {error}") from error


def _descriptions(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """One for each key; pydantic tells of every member of a union by itself."""
    errors_of_key: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        errors_of_key.setdefault(_dotted(detail, model), []).append(detail)
    for key, details in errors_of_key.items():
        yield _describe(key, details, model)


def _describe(key: str, details: list[Any], model: type[BaseModel]) -> str:
    if all(detail["type"] != "extra_forbidden" for detail in details):
        messages = dict.fromkeys(detail["msg"].removeprefix("Value error, ") for detail in details)
        return f"{key}: {', or '.join(messages)}, got {_shortened(details[0]['input'])}"
    known = sorted(set(_dotted_keys(model)))
    close = [k for k in known if k.endswith(f".{key}")] or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    suggestion = " or ".join(map(repr, close[:3]))
    return f"unknown key {key!r}" + (f"; did you mean {suggestion}?" if close else "; see ray_config.yaml for all keys")


def _dotted(error: Any, model: type[BaseModel]) -> str:
    """The key as the user wrote it: pydantic puts kinds and types of a union's members between the names."""
    names = {key.split(".")[-1] for key in _dotted_keys(model)}
    *parents, last = error["loc"] or (THE_CONFIGURATION,)
    is_key = error["type"] == "extra_forbidden" or not parents or last in names or isinstance(last, int)
    kept = [part for part in parents if isinstance(part, int) or part in names]
    return ".".join(str(part) for part in [*kept, *([last] if is_key else [])])


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _dotted_keys(inner, f"{prefix}{name}.")


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
