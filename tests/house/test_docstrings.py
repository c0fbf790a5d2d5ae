"""Docstrings are in the one form that the site's generator reads: a section's header has a line of its own."""

import logging
import re
from pathlib import Path

import griffe
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SECTIONS = "Args|Arguments|Parameters|Returns|Raises|Yields|Attributes|Examples?|Source|Sources|Notes?"
ONE_LINE = re.compile(rf"^[ \t]*(?:{SECTIONS}):[ \t]+\S.*", re.MULTILINE)
NO_BLANK_ABOVE = re.compile(rf"\S\n[ \t]*(?:{SECTIONS}):$", re.MULTILINE)


def _options() -> dict:
    """As the site reads them."""
    plugins = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["plugins"]
    [mkdocstrings] = [plugin["mkdocstrings"] for plugin in plugins if "mkdocstrings" in plugin]
    options = mkdocstrings["handlers"]["python"]["options"]
    assert options["docstring_style"] == "google"
    return options["docstring_options"]


def _docstrings(module: griffe.Object) -> list[griffe.Docstring]:
    """Of a module and all below it, without what it imports."""
    members = [member for member in module.members.values() if not member.is_alias]
    below = [found for member in members if isinstance(member, griffe.Object) for found in _docstrings(member)]
    return [*([module.docstring] if module.docstring else []), *below]


def _wrong(docstring: griffe.Docstring, log: pytest.LogCaptureFixture) -> list[str]:
    log.clear()
    docstring.parse("google", **_options())
    found = [record.getMessage() for record in log.records if record.name.startswith("griffe")]
    forms = [match for form in (ONE_LINE, NO_BLANK_ABOVE) for match in form.findall(docstring.value)]
    return [*found, *(f"{docstring.parent and docstring.parent.path}: {form.strip()!r}" for form in forms)]


@pytest.mark.parametrize("package", ["mmcsal", "jobs"])
def test_every_section_parses_without_a_warning(
    package: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "")  # griffe would ask git about files of jobs/, which looks like starting one of them
    loaded = griffe.load(package, search_paths=[ROOT], allow_inspection=False, force_inspection=False)
    assert isinstance(loaded, griffe.Object)
    docstrings = _docstrings(loaded)
    assert len(docstrings) > (1000 if package == "mmcsal" else 5)
    with caplog.at_level(logging.WARNING, logger="griffe"):
        wrong = [line for docstring in docstrings for line in _wrong(docstring, caplog)]
    assert wrong == []


PARENT = griffe.visit("made", Path("made.py"), "def f(x: int, y: int) -> int:\n    return x + y\n")["f"]


@pytest.mark.parametrize(
    "mistake",
    [
        "Adds.\n\nRaises: ValueError: one line.",
        "Adds.\n\nArgs: x: one line,\n    and more.",
        "Adds.\n\nSource: someone, 1999.",
        "Adds.\n\nArgs:\n    x, y: two names.",
        "Adds.\n\nArgs:\n    z: no argument of it.",
        "Adds.\nRaises:\n    ValueError: no blank line above.",
    ],
)
def test_a_mistake_is_seen(mistake: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="griffe"):
        assert _wrong(griffe.Docstring(mistake, parent=PARENT, lineno=1), caplog)


def test_the_form_is_accepted(caplog: pytest.LogCaptureFixture):
    form = "Add.\n\nArgs:\n    x: one.\n\nReturns:\n    it,\n    whole.\n\nRaises:\n    OSError: no.\n\nSource:\n    X."
    with caplog.at_level(logging.WARNING, logger="griffe"):
        assert _wrong(griffe.Docstring(form, parent=PARENT, lineno=1), caplog) == []
