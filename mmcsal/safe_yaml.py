"""YAML as a configuration needs it: small, plain, each key once; anything else is refused before it costs anything.

Scalars are what a reader expects them to be: `010` and `1:30`, octal and sexagesimal to YAML 1.1, `no` and a date stay
text, for the field that takes them to judge.
"""

import re
from typing import Any, ClassVar

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML that was built without libyaml
    from yaml import SafeLoader

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 4 << 20, 32, 200_000  # the last with every alias written out


class _Loader(SafeLoader):  # pyright: ignore[reportGeneralTypeIssues]  whichever there is
    """Plain scalars alone, and no key twice."""

    # Copies of the class attribute that PyYAML fills: a subset of its own rules, so that what it writes is read back.
    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(None, None, "a key is no plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,400})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.yaml_implicit_resolvers[""] = _Loader.yaml_implicit_resolvers.pop("\0")  # nothing at all is null


def parse_yaml(data: bytes | str) -> Any:
    """The one document of a YAML text.

    Raises:
        ValueError: it is no YAML, too large, too deep, or says a key twice; on one line, with line and column.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is {len(data)} characters long, and {MAX_BYTES} are the most that is read")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _check_size(text)
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _check_size(text: str) -> None:
    """Counts depth and values with every alias written out, without writing it out.

    Raises:
        ValueError: there are too many.
    """
    size_of_anchor: dict[str, int] = {}
    open_parts: list[list[Any]] = [[None, 0]]  # of each: its anchor, and its values so far
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append([event.anchor, 1])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_parts.pop()
            size_of_anchor[anchor] = size
            open_parts[-1][1] += size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in size_of_anchor:
                raise ValueError(f"alias *{event.anchor} stands for nothing that was said before")
            open_parts[-1][1] += size_of_anchor[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size_of_anchor[event.anchor] = 1
            open_parts[-1][1] += 1
        if len(open_parts) - 1 > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels ({_place(event)})")
        if open_parts[-1][1] > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES} values, with every alias written out ({_place(event)})")


def _place(event: Any) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
