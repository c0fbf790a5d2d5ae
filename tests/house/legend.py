"""Shape suffixes (`video_BTHWC`) and the legends that say what their letters mean."""

import ast
import re
from collections.abc import Iterator

# Two columns of a simple table of reStructuredText, between two rules.
TABLE = re.compile(r"^=+ +=+\n(.*?)^=+ +=+$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"([A-Z](?:, [A-Z])*)  +(\S.*)")
SUFFIX = re.compile(r"[a-z].*_([A-Z0-9]*[A-Z][A-Z0-9]*)$")


def legends_of(docstring: str) -> list[dict[str, str]]:
    """letter -> meaning, of each table in a docstring.

    Raises: ValueError: a row is no letters and their meaning, or a letter stands twice.
    """
    legends = []
    for table in TABLE.findall(docstring):
        legend: dict[str, str] = {}
        for line in table.splitlines():
            row = ROW.fullmatch(line)
            if row is None:
                raise ValueError(f"legend: {line!r} is no row of letters, two spaces or more and their meaning")
            for letter in row[1].split(", "):
                if letter in legend:
                    raise ValueError(f"legend: {letter} means {legend[letter]!r} and {row[2]!r}")
                legend[letter] = row[2]
        legends.append(legend)
    return legends


def suffixed_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names with a shape suffix that a module gives, and their lines: variables, parameters, fields, functions.

    Those that it only uses belong to whoever gave them. Constants (`MAX_N`) and types (`ClipBatch`) are no arrays.
    """
    for node in ast.walk(tree):
        name, line = _given(node), getattr(node, "lineno", 0)
        if name is not None and SUFFIX.match(name.lstrip("_")):
            yield name, line


def letters_of(name: str) -> set[str]:
    """Of its suffix; digits are sizes and need no legend."""
    match = SUFFIX.match(name.lstrip("_"))
    return {letter for letter in match[1] if not letter.isdigit()} if match else set()


def _given(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
    return None
