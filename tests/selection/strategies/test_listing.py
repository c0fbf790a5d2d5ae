"""What the documentation and the run configuration tell of the strategies is what there is."""

import re

import pytest

from mmcsal.evaluation.spec import COLD_START, GROUPS, WARM_START
from mmcsal.selection.strategies import ColdStart, WarmStart, specs_of
from tests.selection.strategies.listing import CONFIG, DOCS, ROOT, with_comment, with_tables

HINT = "run `python -m tests.selection.strategies.listing` and commit what it writes"
KINDS = [*specs_of(ColdStart), *specs_of(WarmStart)]


@pytest.mark.parametrize(("path", "written"), [(DOCS, with_tables), (CONFIG, with_comment)], ids=["docs", "config"])
def test_the_listing_is_up_to_date(path, written):
    assert path.read_text() == written(path.read_text()), f"{path.name}: {HINT}"


def test_the_page_names_every_kind_once_in_its_tables():
    assert re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE) == KINDS


def test_the_comment_of_the_configuration_names_every_kind():
    comment = re.search(r"# How the batch is found:.*?\n(?=  strategy:)", CONFIG.read_text(), re.DOTALL)
    assert comment is not None
    assert set(KINDS) <= set(re.findall(r"\w+", comment[0]))


def test_evaluate_compares_every_member_of_the_unions():
    assert {c.name: type(c.spec.strategy) for c in COLD_START} == specs_of(ColdStart)
    assert {c.name: type(c.spec.strategy) for c in WARM_START} == specs_of(WarmStart)
    assert [GROUPS["cold_start"], GROUPS["warm_start"]] == [COLD_START, WARM_START]


def test_the_recipes_of_contributing_name_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## Recipes")[1]
    named = re.findall(r"`([\w/.<>-]+\.(?:py|md|yaml))`", text)
    assert len(named) > 10
    wrong = [path for path in named if not _exists(path)]
    assert not wrong, f"CONTRIBUTING.md names {wrong}"


def _exists(path: str) -> bool:
    """From the root, or from any folder of the package; `<...>` stands for any name."""
    pattern = re.sub(r"<\w+>", "*", path)
    return any(ROOT.glob(pattern)) or any((ROOT / "mmcsal").rglob(pattern))
