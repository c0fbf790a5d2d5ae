"""Writes what the documentation and the run configuration tell of the strategies, from the unions and their docstrings.

`python -m tests.selection.strategies.listing` after a strategy was added; `test_listing.py` fails until then.
"""

import re
import sys
import textwrap
from pathlib import Path
from types import UnionType

from mmcsal.contracts.spec import Spec
from mmcsal.selection.strategies import ColdStart, WarmStart, specs_of

ROOT = Path(__file__).parents[3]
DOCS, CONFIG = ROOT / "docs" / "strategies.md", ROOT / "ray_config.yaml"
LINE_WIDTH = 120


def with_tables(text: str) -> str:
    """The page of strategies with a table of each union between its markers."""
    for name, union in (("ColdStart", ColdStart), ("WarmStart", WarmStart)):
        text, found = re.subn(
            rf"(?<=<!-- {name}: )([^\n]*-->\n).*?(?=<!-- end -->)",
            lambda mark, union=union: mark[1] + _table(union),
            text,
            flags=re.DOTALL,
        )
        assert found == 1, f"{DOCS.name}: expected one marker of {name}"
    return text


def with_comment(text: str) -> str:
    """The run configuration with all kinds in the comment of `strategy`."""
    ours, *others = specs_of(ColdStart)
    told = (
        f"How the batch is found: {ours}; or, to compare with, {', '.join(others)}; or, once there are labels, "
        f"{', '.join(specs_of(WarmStart))} (docs/strategies.md)."
    )
    lines = textwrap.wrap(told, LINE_WIDTH, initial_indent="  # ", subsequent_indent="  # ")
    text, found = re.subn(
        r"  # How the batch is found:.*?\n(?=  strategy:\n)", "\n".join(lines) + "\n", text, flags=re.DOTALL
    )
    assert found == 1, f"{CONFIG.name}: expected one comment above `strategy`"
    return text


def _table(union: UnionType) -> str:
    rows = [
        f"| `{kind}` | {_chooses(kind, spec)} | {_source(spec)} | {_limit(spec)} |"
        for kind, spec in specs_of(union).items()
    ]
    return "\n".join(["| kind | chooses | source | pools up to |", "| --- | --- | --- | --- |", *rows, ""])


def _docstring(spec: type[Spec]) -> str:
    return sys.modules[spec.__module__].__doc__ or ""


def _chooses(kind: str, spec: type[Spec]) -> str:
    """The first line of the file, without its beginning and its full stop."""
    begin, (first, *_) = f"The `{kind}` strategy: ", _docstring(spec).splitlines()
    assert first.startswith(begin), f"{kind}.py: expected the docstring to begin with {begin!r}, found {first!r}"
    return first.removeprefix(begin).rstrip(".")


def _source(spec: type[Spec]) -> str:
    found = re.search(r"^Source: (.+?)\.?\s*\Z", _docstring(spec), re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _limit(spec: type[Spec]) -> str:
    if "max_pool_size" not in spec.model_fields:
        return "any size"
    thousands = spec.model_fields["max_pool_size"].default // 1000
    return f"{thousands} thousand" if thousands < 1000 else f"{thousands // 1000} million"


if __name__ == "__main__":
    DOCS.write_text(with_tables(DOCS.read_text()))
    CONFIG.write_text(with_comment(CONFIG.read_text()))
