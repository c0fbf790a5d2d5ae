"""Links of README and docs lead to a file that is there, and to a heading of it."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of, prose

LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _slug(heading: str) -> str:
    """The anchor that GitHub and MkDocs make of it."""
    return re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-")


def _broken(page: Path, text: str) -> list[str]:
    broken = []
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        is_there = file.exists() and ROOT in file.resolve().parents
        if not is_there or (anchor and anchor not in map(_slug, HEADING.findall(prose(file)))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page: Path):
    assert _broken(page, prose(page)) == []


def test_there_are_links_to_check():
    assert sum(len(LINK.findall(prose(page))) for page in PAGES) > 50


@pytest.mark.parametrize("target", ["docs/nothing.md", "docs/training.md#nothing", "#nothing", "mmcsal/nothing.py"])
def test_a_broken_link_is_seen(target: str):
    assert _broken(ROOT / "README.md", f"[x]({target})") == [target]
