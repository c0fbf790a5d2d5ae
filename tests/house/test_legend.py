"""One legend a package: every letter of a shape suffix is explained, once, where a reader looks for it."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.house.legend import legends_of, letters_of, suffixed_names
from tests.house.source import PACKAGE, name_of, python_files, tree_of

CONTRACTS = PACKAGE / "contracts"
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def tables_of(room: Path) -> list[dict[str, str]]:
    return legends_of(ast.get_docstring(tree_of(room / "__init__.py")) or "")


def own_legend(room: Path) -> dict[str, str]:
    """What a room adds to the letters that mean the same everywhere, which are the first table of contracts."""
    tables = tables_of(room)[1:] if room == CONTRACTS else tables_of(room)
    assert len(tables) <= 1, f"{name_of(room)}/__init__.py: one legend a package"
    return tables[0] if tables else {}


def global_legend() -> dict[str, str]:
    return tables_of(CONTRACTS)[0]


def used_letters(room: Path) -> dict[str, list[str]]:
    """letter -> where a name with it is given."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in python_files(room):
        for name, line in suffixed_names(tree_of(path)):
            for letter in letters_of(name):
                found[letter].append(f"{name_of(path)}:{line} {name}")
    return found


def complaints(used: dict[str, list[str]], own: dict[str, str], everywhere: dict[str, str]) -> list[str]:
    """What is wrong between the letters in use and the legends."""
    unlisted = [
        f"{letter} is in no legend: {', '.join(places[:3])}"
        for letter, places in sorted(used.items())
        if letter not in own and letter not in everywhere
    ]
    unused = [f"{letter} is in the legend and in no name" for letter in own if letter not in used]
    twice = [f"{letter} means {everywhere[letter]!r} everywhere" for letter in own if letter in everywhere]
    return unlisted + unused + twice


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_letter_of_a_package_is_in_its_legend(room):
    assert complaints(used_letters(room), own_legend(room), global_legend()) == []


def test_letters_that_mean_the_same_everywhere_are_used_in_several_packages():
    rooms_of = {letter: [room for room in ROOMS if letter in used_letters(room)] for letter in global_legend()}
    assert {letter: len(rooms) for letter, rooms in rooms_of.items() if len(rooms) < 2} == {}


LEGEND = """What it holds.

=====  =========
Q      queries
H, W   pixels
=====  =========
"""


def test_a_letter_that_is_not_listed_not_used_or_listed_twice_is_seen():
    tree = ast.parse("MAX_Z = 3\nclass A_B:\n    x_QX: int\ndef f(y_2W, *, z_H1):\n    self.v_N = other.u_Y\n")
    names = [name for name, _ in suffixed_names(tree)]
    assert sorted(names) == ["v_N", "x_QX", "y_2W", "z_H1"]
    used = {letter: [name] for name in names for letter in letters_of(name)}
    (own,) = legends_of(LEGEND)
    assert complaints(used, own, {"N": "samples"}) == ["X is in no legend: x_QX"]
    assert complaints({"Q": ["a_Q"]}, own, {"H": "hours"}) == [
        "H is in the legend and in no name",
        "W is in the legend and in no name",
        "H means 'hours' everywhere",
    ]
    with pytest.raises(ValueError, match="Q means 'queries' and 'more'"):
        legends_of(LEGEND.replace("H, W   pixels", "Q      more"))
    with pytest.raises(ValueError, match="is no row"):
        legends_of(LEGEND.replace("H, W   pixels", "height and width"))
