"""One file of the CLIP table, column by column; one that cannot be read, or is none, is named."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.fs

from mmcsal.contracts.errors import TableError
from mmcsal.storage.tables import open_parquet, read_table
from mmcsal.storage.uri import is_of_service

TENSORS = ("video", "audio")


def read_columns(path: str, filesystem: pyarrow.fs.FileSystem, columns: Sequence[str]) -> pa.Table:
    """Some columns of a file.

    Raises:
        TableError: the file is broken.
        OSError: the store does not answer.
    """
    try:
        return read_table(path, filesystem, columns=columns)
    except OSError as error:
        if is_of_service(error):
            raise
        raise TableError(f"{path}: cannot be read as a CLIP table ({error})") from error


def tensor_bytes(path: str, filesystem: pyarrow.fs.FileSystem) -> tuple[int, ...]:
    """Bytes of each tensor of one clip, from the schema alone.

    Raises:
        TableError: the file is no CLIP table.
    """
    with open_parquet(path, filesystem) as file:
        schema = file.schema_arrow
    for name in TENSORS:
        if name not in schema.names or not pa.types.is_fixed_size_binary(schema.field(name).type):
            raise TableError(f"{path}: no column {name!r} of fixed-size binary; expected a CLIP table")
    return tuple(schema.field(name).type.byte_width for name in TENSORS)
