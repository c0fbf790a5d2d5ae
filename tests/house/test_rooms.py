"""Rooms that a stranger finds the way in: small folders, a line at each door, a test where its module lies."""

import ast
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, ROOT, name_of, packages, python_files, tree_of

MAX_MODULES = 16
LISTS = {"mmcsal/selection/strategies"}  # one strategy a file: it grows with what there is to compare
MAX_LINE = 120
TESTS = ROOT / "tests"
# Of the whole, not of a module.
HALLS = {"benchmarks", "cluster", "docs", "house", "multinode", "object_store"}
# What several modules promise together.
CONTRACTS = {
    "tests/test_command_lines.py",
    "tests/test_packaging.py",
    "tests/test_without_ray.py",
    "tests/distributed/stages/test_ingest_check.py",
    "tests/distributed/stages/test_select_command.py",
    "tests/report/test_reading.py",
    "tests/selection/test_brute_force.py",
    "tests/selection/strategies/test_gradients.py",
    "tests/selection/strategies/test_listing.py",
    "tests/selection/strategies/test_uncertainty.py",
    "tests/training/test_killed.py",
    "tests/training/test_two_workers.py",
}


def modules_of(folder: Path) -> list[str]:
    return [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


@pytest.mark.parametrize("folder", [f for f in packages() if name_of(f) not in LISTS], ids=name_of)
def test_no_folder_holds_more_modules_than_one_sees_at_once(folder):
    modules = modules_of(folder)
    assert len(modules) <= MAX_MODULES, f"{name_of(folder)}: {len(modules)} modules, cut it into rooms: {modules}"


def door_plate(tree: ast.Module) -> str:
    """The first line of a docstring, or what is wrong with it."""
    docstring = ast.get_docstring(tree)
    if not docstring:
        return "no docstring"
    first, *rest = docstring.splitlines()
    if first.rstrip()[-1:] not in (".", "?") or len(first) > MAX_LINE or (rest and rest[0].strip()):
        return f"the first line is no sentence by itself: {first!r}"
    return ""


@pytest.mark.parametrize("folder", packages(), ids=name_of)
def test_every_package_says_in_one_line_what_belongs_there(folder):
    assert (folder / "__init__.py").exists(), f"{name_of(folder)} holds modules and is no package"
    assert door_plate(tree_of(folder / "__init__.py")) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""What it holds."""', ""),
        ('"""What it holds.\n\nMore of it.\n"""', ""),
        ("x = 1", "no docstring"),
        ('"""What it\nholds."""', "the first line is no sentence by itself: 'What it'"),
        ('"""What it holds.\nMore."""', "the first line is no sentence by itself: 'What it holds.'"),
    ],
)
def test_a_missing_or_broken_first_line_is_seen(text, expected):
    assert door_plate(ast.parse(text)) == expected


def mirrored(test: Path) -> list[Path]:
    """Where the module that a test file is of may lie: under its name, or the whole folder, where it has the folder's
    name or tests what all that lie there promise (`test_contract.py`)."""
    folder = PACKAGE / test.relative_to(TESTS).parent
    stem = test.stem.removeprefix("test_")
    own = [folder / f"{stem}.py", folder / stem / "__init__.py"]
    return [*own, folder / "__init__.py"] if stem in (folder.name, "contract") else own


def strays(tests: list[Path]) -> list[str]:
    """The test files that lie where no module does."""
    found = []
    for test in tests:
        is_hall = test.relative_to(TESTS).parts[0] in HALLS
        if not is_hall and name_of(test) not in CONTRACTS and not any(path.exists() for path in mirrored(test)):
            found.append(f"{name_of(test)} mirrors no {name_of(mirrored(test)[0])}")
    return found


def test_every_test_file_lies_where_its_module_does():
    tests = [path for path in python_files(TESTS) if path.name.startswith("test_")]
    assert strays(tests) == []
    assert {name for name in CONTRACTS if not (ROOT / name).exists()} == set(), "an exception for nothing"


def test_a_test_file_without_a_module_is_seen():
    tests = [TESTS / "training" / "test_step.py", TESTS / "training" / "test_other.py", TESTS / "house" / "test_x.py"]
    tests += [TESTS / "losses" / "test_contract.py", TESTS / "metrics" / "test_metrics.py"]
    assert strays(tests) == ["tests/training/test_other.py mirrors no mmcsal/training/other.py"]
