"""Reading tables: the one place where Parquet files are opened (`tests/house/test_readers.py` holds it).

Whoever wrote a file chose the types of its columns, and an extension type runs the code of whoever registered it when
its values are looked at: that of Ray Data unpickles them. So a table with such a column is refused, by name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from mmcsal.contracts.errors import TableError, on_one_line
from mmcsal.storage.uri import is_of_service

if TYPE_CHECKING:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

EXTENSION_NAME = b"ARROW:extension:name"  # of a type that nobody in this process has registered


@dataclass(frozen=True)
class Rows:
    """The rows of some Parquet files, read when they are asked for.

    Args:
        dataset: whose schema holds plain types alone: what a file has instead is cast to them.
        where: the rows lie, for errors.
    """

    dataset: "ds.Dataset"
    where: str

    @property
    def schema(self) -> pa.Schema:
        return self.dataset.schema

    def to_table(self, columns: Sequence[str] | None = None, filter: "pc.Expression | None" = None) -> pa.Table:
        """The rows that pass the filter.

        Raises:
            TableError: a file is damaged, or has no such column, or one of another type.
        """
        with reading(self.where):
            return self.dataset.to_table(columns=None if columns is None else list(columns), filter=filter)

    def to_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows, bit by bit; raises as `to_table` does."""
        with reading(self.where):
            yield from self.dataset.to_batches(columns=list(columns))

    def count_rows(self) -> int:
        """How many there are; raises as `to_table` does."""
        with reading(self.where):
            return self.dataset.count_rows()


def rows_of(
    files: Sequence[str], filesystem: fs.FileSystem | None = None, *, schema: pa.Schema | None = None, where: str
) -> Rows:
    """The rows of Parquet files.

    Args:
        schema: what they are read as; None = the schema of the first file.

    Raises:
        TableError: the first file is damaged or has a column of an extension type; with `schema`, see `Rows`.
    """
    import pyarrow.dataset as ds  # imports pandas where there is one: a second that `mmcsal status` can do without

    if not files and schema is not None:
        return Rows(ds.dataset(schema.empty_table()), where)
    with reading(where):
        dataset = ds.dataset(list(files), filesystem=filesystem, format="parquet", schema=schema)
    check_plain(dataset.schema, files[0] if files else where)
    return Rows(dataset, where)


def read_table(
    source: str | pa.NativeFile,
    filesystem: fs.FileSystem | None = None,
    *,
    columns: Sequence[str] | None = None,
    where: str | None = None,
) -> pa.Table:
    """One Parquet file, or some of its columns.

    Raises:
        TableError: see `open_parquet`; or it has no such column.
    """
    with open_parquet(source, filesystem, where=where) as file, reading(where or str(source)):
        missing = [name for name in columns or () if name not in file.schema_arrow.names]
        if missing:
            raise TableError(f"{where or source}: no columns {missing}; found {file.schema_arrow.names}")
        return file.read(None if columns is None else list(columns))


@contextmanager
def open_parquet(
    source: str | pa.NativeFile, filesystem: fs.FileSystem | None = None, *, where: str | None = None
) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose columns are of plain types; `where` it lies stands in errors.

    Raises:
        TableError: it is none, not whole, or has a column of an extension type.
    """
    where = where or str(source)
    with reading(where):
        opened = pq.ParquetFile(source, filesystem=filesystem)
    with opened as file:
        check_plain(file.schema_arrow, where)
        yield file


def check_plain(schema: pa.Schema, where: str) -> None:
    """Refuses extension types and names that stand for two columns.

    Raises:
        TableError: with the column.
    """
    for field in schema:
        extension = _extension_in(field)
        if extension is not None:
            raise TableError(
                f"{where}: column {field.name!r} is of the extension type {extension!r}, which may run code when it is "
                "read; expected plain Arrow types: write its storage instead, or leave the column out"
            )
        if len(schema.get_all_field_indices(field.name)) > 1:
            raise TableError(f"{where}: column {field.name!r} occurs more than once; rename all but one")


def _extension_in(field: pa.Field) -> str | None:
    """The name of an extension type in a field or below it, registered or not."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name
    unregistered = (field.metadata or {}).get(EXTENSION_NAME)
    if unregistered is not None:
        return unregistered.decode(errors="replace")
    below = [pa.field("", kind.value_type)] if isinstance(kind, pa.DictionaryType) else []
    below += [kind.field(number) for number in range(kind.num_fields)]
    return next(filter(None, map(_extension_in, below)), None)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """What pyarrow raises over the content of a file, as an error that names the file.

    What a disk or a service raises over reading it says nothing of the content, and stays what it is.

    Raises:
        TableError: the content is damaged.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if is_of_service(error) or getattr(error, "errno", None) is not None:
            raise
        raise damaged(where, error) from error


def damaged(path: str, error: Exception) -> TableError:
    """What is said of a file that cannot be read."""
    return TableError(f"{path}: cannot be read as Parquet: {on_one_line(error)}; write it again, or take it away")


def parquet_bytes(table: pa.Table, **options: Any) -> pa.Buffer:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue()
