"""The pages that a reader sees: READMEs and docs/, and what is in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "CONTRIBUTING.md", "cluster/README.md")
PAGES = [*(ROOT / name for name in READMES), *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


class Block(NamedTuple):
    language: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks."""
    return [Block(match[2], match[3]) for match in FENCE.finditer(page.read_text())]


def prose(page: Path) -> str:
    """All but the fenced blocks."""
    return FENCE.sub("", page.read_text())


def code_spans(page: Path) -> list[str]:
    """What stands between single backticks; a span may go on in the next line."""
    return [" ".join(span.split()) for span in INLINE.findall(prose(page))]
