"""The code of this repository as text, for tests of its form."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mmcsal"


def python_files(folder: Path) -> list[Path]:
    """All of them below a folder."""
    return sorted(folder.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, parsed once."""
    return ast.parse(path.read_text(), path)


def packages(folder: Path = PACKAGE) -> list[Path]:
    """The folders below `folder`, and itself, that hold modules."""
    return sorted({path.parent for path in python_files(folder)})


def name_of(path: Path) -> str:
    """As errors and test ids show it: from the root of the repository."""
    return path.relative_to(ROOT).as_posix()
