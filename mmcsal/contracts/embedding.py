"""EMBEDDING: a unit-norm float32 vector per modality of each sample."""

import numpy as np
import pyarrow as pa

from mmcsal.contracts.errors import TableError

SUFFIX = "_embedding"


def embedding_schema(width_by_modality: dict[str, int]) -> pa.Schema:
    """The EMBEDDING schema for two modalities; their widths may differ."""
    fields = [pa.field("sample_id", pa.string(), nullable=False)]
    fields += [
        pa.field(f"{m}{SUFFIX}", pa.list_(pa.float32(), d), nullable=False) for m, d in width_by_modality.items()
    ]
    return pa.schema(fields)


def modalities_of(schema: pa.Schema) -> list[str]:
    """The modalities that a table of embeddings holds, in column order."""
    return [f.name.removesuffix(SUFFIX) for f in schema if f.name.endswith(SUFFIX)]


def vector_column(vectors_ND: np.ndarray) -> pa.FixedSizeListArray:
    """float32 [N, D] as a fixed-size list column."""
    flat = np.ascontiguousarray(vectors_ND, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors_ND.shape[1])


def read_vectors(table: pa.Table, modality: str) -> np.ndarray:
    """One modality's vectors, float32 [N, D].

    Raises:
        TableError: the column is missing or is not a fixed-size list of float32.
    """
    name = f"{modality}{SUFFIX}"
    if name not in table.column_names:
        raise TableError(f"embeddings: no column {name!r}; found {table.column_names}")
    kind = table.schema.field(name).type
    if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()):
        raise TableError(f"embeddings: column {name!r} is {kind}, expected fixed_size_list<float>[D]")
    column = table[name].combine_chunks()
    chunk = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), kind.list_size)
