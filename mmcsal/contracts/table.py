"""Checks that a table keeps its contract at the exit of a stage."""

import pyarrow as pa

from mmcsal.contracts.errors import TableError


def conform(table: pa.Table, schema: pa.Schema, *, name: str) -> pa.Table:
    """Returns `table` with exactly the columns, order and types of `schema`.

    Nullable columns that are absent are added as nulls; unknown columns are refused.
    `name` stands in the error: the table and where it lies.

    Raises:
        TableError: a column is missing, unknown, of a type that cannot be cast without loss, or holds nulls where the
            schema allows none; the message names the column and the first row.
    """
    unknown = [c for c in table.column_names if c not in schema.names]
    if unknown:
        raise TableError(f"{name}: unknown columns {unknown}; expected {schema.names}")
    columns = [_conform_column(table, field, name) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _conform_column(table: pa.Table, field: pa.Field, name: str) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        if not field.nullable:
            raise TableError(f"{name}: column {field.name!r} is missing; expected {field.type}")
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])
    column = table[field.name]
    if not field.nullable and column.null_count:
        row = column.is_null().index(True).as_py()
        raise TableError(
            f"{name}: column {field.name!r} has {column.null_count} nulls of {table.num_rows} rows, first in row {row}"
        )
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(f"{name}: column {field.name!r} is {column.type}, expected {field.type} ({error})") from error


def check_unique_ids(sample_ids: pa.ChunkedArray, *, name: str) -> None:
    """Raises TableError that names the first repeated ids, if there are any."""
    counts = sample_ids.value_counts()
    repeated = counts.field("values").filter(pa.array(counts.field("counts").to_numpy() > 1))
    if len(repeated):
        first = repeated[:3].to_pylist()
        raise TableError(f"{name}: {len(repeated)} sample_ids occur more than once, first {first}; ids must be unique")
