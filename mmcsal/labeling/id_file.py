"""Lists of ids: a .txt file with one a line, or the `sample_id` column of a .csv or .parquet file."""

import pyarrow as pa

from mmcsal.contracts.errors import InputError, TableError, on_one_line
from mmcsal.labeling.label_file import read_rows
from mmcsal.storage.uri import StorageSpec, open_file


def read_ids(path: str, storage: StorageSpec | None = None, *, key: str) -> tuple[str, ...]:
    """The ids in the order of the file.

    Args:
        key: of the configuration, that names the file; for errors.

    Raises:
        InputError: the file cannot be read, has no column of ids, or some are null.
    """
    try:
        with open_file(path, storage, what=key) as stream:
            if path.lower().endswith((".parquet", ".csv")):
                table = read_rows(stream, path, "sample_id")
            else:
                lines = stream.read().decode("utf-8-sig").splitlines()
                table = pa.table({"sample_id": [line.strip() for line in lines if line.strip()]})
        if "sample_id" not in table.column_names:
            raise InputError(
                f"{key}: {path!r} has no column 'sample_id'; found {table.column_names}; rename the one of ids"
            )
        ids = table["sample_id"].cast(pa.string())
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, TableError) as error:
        raise InputError(
            f"{key}: {path!r} cannot be read: {on_one_line(error)}; give a .txt (one id a line), or a .csv or "
            ".parquet file with a column 'sample_id'"
        ) from error
    if ids.null_count:
        raise InputError(f"{key}: {ids.null_count} of {len(ids)} ids in {path!r} are null; leave them out")
    return tuple(ids.to_pylist())
