"""Reads few rows of large tables: memory follows the rows asked for, never the size of the pool."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.ids import hash_ids
from mmcsal.storage.tables import Rows, reading

# A clip is about a megabyte: arrow's own read-ahead of 2 million rows would hold all of a part in memory.
CLIP_BATCH_ROWS = 16
VECTOR_BATCH_ROWS = 8192


def rows_of_ids(rows: Rows, sample_ids: Collection[str], columns: list[str]) -> pa.Table:
    """The rows of the given ids from a table of large rows (clips).

    Looks at the ids of each row group first, and reads the tensors only of row groups that hold one of them.
    """
    wanted = pc.field("sample_id").isin(list(sample_ids))
    schema = pa.schema([rows.schema.field(name) for name in columns])
    found = [schema.empty_table()]
    with reading(rows.where):
        for fragment in rows.dataset.get_fragments():
            for group in fragment.split_by_row_group():
                if group.count_rows(filter=wanted):
                    ahead = _reading_ahead(CLIP_BATCH_ROWS)
                    found.append(group.scanner(schema=rows.schema, columns=columns, filter=wanted, **ahead).to_table())
    return pa.concat_tables(found)


def vectors_of_ids(rows: Rows, sample_ids: Collection[str], columns: list[str]) -> pa.Table:
    """The rows of the given ids from a table of small rows that may be long (embeddings), in one stream."""
    wanted = pc.field("sample_id").isin(list(sample_ids))
    with reading(rows.where):
        return rows.dataset.scanner(columns=columns, filter=wanted, **_reading_ahead(VECTOR_BATCH_ROWS)).to_table()


def _reading_ahead(batch_rows: int) -> dict[str, int]:
    return {"batch_size": batch_rows, "batch_readahead": 1, "fragment_readahead": 1}


def lowest_hash_ids(rows: Rows, num_ids: int) -> list[str]:
    """The `num_ids` ids of lowest hash, lowest first: the same sample whatever the order or number of parts."""
    kept: list[tuple[int, str]] = []
    for batch in rows.to_batches(columns=["sample_id"]):
        ids = batch["sample_id"].to_pylist()
        hashes = hash_ids(ids)
        # Once enough are kept, hardly any row of a further batch is below the highest of them.
        limit = kept[-1][0] if len(kept) == num_ids else np.iinfo(np.uint64).max
        near = np.flatnonzero(hashes <= np.uint64(limit))
        kept = sorted([*kept, *((int(hashes[i]), ids[i]) for i in near)])[:num_ids]
    return [sample_id for _, sample_id in kept]
