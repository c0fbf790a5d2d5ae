"""Labels as annotators hand them in: a .csv or .parquet file with an id and a label a row."""

from collections.abc import Callable

import pyarrow as pa
from pyarrow import csv

from mmcsal.contracts.errors import InputError, TableError, on_one_line
from mmcsal.storage.csv_cells import plain
from mmcsal.storage.tables import Rows, read_table
from mmcsal.storage.uri import StorageSpec, is_of_service, open_file

NUM_NAMED = 3


def labels_of(
    path: str | None,
    storage: StorageSpec | None,
    *,
    label: str,
    aligned: str,
    section: str,
    manifest: Callable[[], Rows],
) -> tuple[pa.Table, str]:
    """The labels of the file that is named, else of the manifest; and where they come from, for errors.

    Args:
        path: see `read_labels`; no path = the manifest.
        storage: see `path`.
        label: see `path`.
        aligned: see `path`.
        section: see `path`.
        manifest: called where it is needed.

    Raises:
        InputError: see `read_labels`.
    """
    if path is None:
        table = manifest().to_table(columns=["sample_id", "label"])
        return table, f"the manifest ({section}.labels names a file)"
    return read_labels(path, storage, label=label, aligned=aligned, section=section), repr(path)


def read_labels(
    path: str,
    storage: StorageSpec | None = None,
    *,
    label: str = "label",
    aligned: str = "aligned",
    section: str = "evaluate",
) -> pa.Table:
    """`sample_id`, `label` (strings; null = none) and, where the file has it, `aligned`; one row a sample.

    Args:
        label: what the file calls these columns.
        aligned: see `label`.
        section: of the configuration, whose `label_column` says so.

    Raises:
        InputError: the file cannot be read, a column is missing, or two labels of one sample differ.
    """
    try:
        with open_file(path, storage, what="labels") as stream:
            table = read_rows(stream, path, "sample_id", label)
        missing = [name for name in ("sample_id", label) if name not in table.column_names]
        if missing:
            raise InputError(
                f"labels: {path!r} has no column {missing[0]!r}; found {table.column_names}; rename one, or set "
                f"{section}.label_column"
            )
        columns = {"sample_id": table["sample_id"].cast(pa.string()), "label": table[label].cast(pa.string())}
        if aligned in table.column_names:
            columns["aligned"] = table[aligned].cast(pa.bool_())
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, TableError) as error:
        if is_of_service(error):
            raise
        raise InputError(
            f"labels: {path!r} cannot be read: {on_one_line(error)}; give a .csv or .parquet file with the columns "
            f"sample_id and {label}"
        ) from error
    return _one_each(pa.table(columns), path)


def read_rows(stream: pa.NativeFile, place: str, *text_columns: str) -> pa.Table:
    """A .parquet file, else a .csv file whose `text_columns` are strings even where they look like numbers."""
    if place.lower().endswith(".parquet"):
        return read_table(stream, where=place)
    text = csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string()))
    table = csv.read_csv(stream, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=text)
    # selection.csv marks what a spreadsheet would run; who labels it hands the mark in again.
    for name in set(text_columns) & set(table.column_names):
        texts = [None if cell is None else plain(cell) for cell in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
    return table


def _one_each(table: pa.Table, path: str) -> pa.Table:
    """One row a sample; several annotators may have said the same.

    Raises:
        InputError: they said different things, or a row has no id.
    """
    if table["sample_id"].null_count:
        raise InputError(f"labels: {table['sample_id'].null_count} rows of {path!r} have no sample_id; leave them out")
    others = [name for name in table.column_names if name != "sample_id"]
    distinct = table.group_by(["sample_id", *others]).aggregate([])
    counts = distinct["sample_id"].value_counts()
    twice = counts.field("values").filter(pa.array(counts.field("counts").to_numpy() > 1))
    if len(twice):
        raise InputError(
            f"labels: {len(twice)} samples of {path!r} have labels that differ, first {twice[:NUM_NAMED].to_pylist()}; "
            "decide for one each"
        )
    return distinct
