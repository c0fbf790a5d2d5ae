"""How a selection shows itself: one line for a prompt, a small table for a notebook, a data frame."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pandas import DataFrame

NUM_SHOWN = 10  # first ranks in a notebook
SHOWN = ("rank", "sample_id", "gain", "alignment", "mass", "reason")
MAX_CELL_CHARS = 120


def as_line(summary: Mapping[str, Any]) -> str:
    """What was selected of how much, how, and what it covers."""
    labeled = f", {summary['num_labeled']:,} labeled before" if summary["num_labeled"] else ""
    return (
        f"Selection of {summary['budget']:,} of {summary['num_pool']:,} samples by {summary['strategy']}{labeled}: "
        f"covers {summary['coverage']:.3f} of the pool, random picks {summary['coverage_random']:.3f}"
    )


def as_html(table: pa.Table, summary: Mapping[str, Any]) -> str:
    """The line, and the first rows of the SELECTION table below it."""
    head = "".join(f"<th>{name}</th>" for name in SHOWN)
    rows = [
        f"<tr>{''.join(f'<td>{escape(_shown(row[name]))}</td>' for name in SHOWN)}</tr>"
        for row in table.select(SHOWN).slice(0, NUM_SHOWN).to_pylist()
    ]
    left = table.num_rows - len(rows)
    rest = f"<p>and {left:,} more: <code>.table</code>, <code>.to_pandas()</code></p>" if left else ""
    return f"<p>{escape(as_line(summary))}</p><table><tr>{head}</tr>{''.join(rows)}</table>{rest}"


def as_pandas(table: pa.Table) -> "DataFrame":
    """The table as a data frame.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401
    except ModuleNotFoundError as error:
        message = "to_pandas needs pandas, which is missing: pip install 'mmcsal[notebook]', or use .table (pyarrow)"
        raise ModuleNotFoundError(message, name="pandas") from error
    return table.to_pandas()


def _shown(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"
