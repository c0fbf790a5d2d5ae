"""Parquet is opened in one place, which refuses what runs code: `mmcsal/storage/tables.py`."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.source import PACKAGE, ROOT, name_of, python_files, tree_of

READER = "mmcsal/storage/tables.py"
MODULES = {"parquet", "dataset", "feather", "orc"}  # of pyarrow, that open files
FUNCTIONS = {"read_parquet", "read_feather", "read_orc", "read_pickle", "open_stream", "ParquetFile", "ParquetDataset"}


def readers(tree: ast.Module) -> Iterator[str]:
    """What in a module may open a table by itself; what is imported for types alone may not."""
    typed = {inner for node in ast.walk(tree) if _is_for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in typed:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.removeprefix("pyarrow.") in MODULES]
        elif isinstance(node, ast.ImportFrom):
            of_pyarrow = [a.name for a in node.names if node.module == "pyarrow" and a.name in MODULES]
            found = [node.module] if (node.module or "").removeprefix("pyarrow.") in MODULES else of_pyarrow
        elif isinstance(node, ast.Attribute):
            is_module = isinstance(node.value, ast.Name) and node.value.id in {"pa", "pyarrow"} and node.attr in MODULES
            found = [node.attr] if is_module or node.attr in FUNCTIONS else []
        else:
            continue
        yield from (f"{node.lineno} {name}" for name in found)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_tables_are_opened_in_one_place():
    files = [path for folder in (PACKAGE, ROOT / "jobs") for path in python_files(folder)]
    found = [f"{name_of(path)}:{r}" for path in files if name_of(path) != READER for r in readers(tree_of(path))]
    assert found == [], f"read them by the functions of {READER}, which refuse columns that run code"
    assert list(readers(tree_of(ROOT / READER)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pyarrow.parquet as pq", ["1 pyarrow.parquet"]),
        ("from pyarrow import dataset as ds, fs", ["1 dataset"]),
        ("from pyarrow.parquet import read_table", ["1 pyarrow.parquet"]),
        ("x = pa.dataset.dataset(f)", ["1 dataset"]),
        ("x = ray.data.read_parquet(f)", ["1 read_parquet"]),
        ("x = run_dir.dataset(f)", []),
        ("if TYPE_CHECKING:\n    import pyarrow.dataset as ds", []),
    ],
)
def test_one_that_goes_past_it_is_found(text, expected):
    assert list(readers(ast.parse(text))) == expected
