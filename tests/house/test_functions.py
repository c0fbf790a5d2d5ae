"""Functions that a reader can hold in mind: at most 60 lines and 8 positional parameters.

Lines are those from `def` to the last one, with signature and docstring, without decorators. Parameters that may be
given by position count; keyword-only ones do not (a call names them), nor do `self` and `cls`. Statements are ruff's
(PLR0915); its count of positional parameters (PLR0917) is a preview rule, and preview changes stable ones too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT, name_of, python_files, tree_of

FOLDERS = ("mmcsal", "jobs", "cluster", "benchmarks")
MAX_LINES, MAX_POSITIONAL = 60, 8


def too_large(tree: ast.Module) -> Iterator[str]:
    """What is too large about each function of a module that is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            num_lines = (node.end_lineno or node.lineno) - node.lineno + 1
            positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
            if num_lines > MAX_LINES:
                yield f"{node.lineno} {node.name}: {num_lines} lines, more than {MAX_LINES}"
            if len(positional) > MAX_POSITIONAL:
                yield f"{node.lineno} {node.name}: {len(positional)} positional parameters, more than {MAX_POSITIONAL}"


def complaints(folder: Path) -> list[str]:
    return [f"{name_of(path)}:{found}" for path in python_files(folder) for found in too_large(tree_of(path))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_too_large(folder):
    found = complaints(ROOT / folder)
    assert found == [], "cut them where a part has a name; give parameters that belong together one structure"


def function(num_lines: int, parameters: str) -> str:
    return f"class A:\n    @cached\n    async def f({parameters}):\n" + "        x = 1\n" * (num_lines - 1)


@pytest.mark.parametrize(
    ("num_lines", "parameters", "expected"),
    [
        (60, "self, a, b, /, c, d, e, f, g, h, *more, i, j", []),
        (61, "self", ["3 f: 61 lines, more than 60"]),
        (2, "self, a, b, /, c, d, e, f, g, h, i", ["3 f: 9 positional parameters, more than 8"]),
    ],
)
def test_what_is_too_large_is_seen(num_lines, parameters, expected):
    assert list(too_large(ast.parse(function(num_lines, parameters)))) == expected
