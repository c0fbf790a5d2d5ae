"""Labels as annotators hand them in, a .csv or .parquet file with an id and a label a row; and their embeddings."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import csv, fs

from mmcsal.contracts.embedding import SUFFIX, read_vectors
from mmcsal.contracts.errors import InputError, TableError, on_one_line
from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.table import check_unique_ids
from mmcsal.evaluation.data import Labeled, labeled, unlabeled
from mmcsal.storage import StorageSpec, is_of_service, open_uri

NUM_NAMED = 3
MIN_CLASSES = 2


def read_labels(
    path: str, storage: StorageSpec | None = None, *, label: str = "label", aligned: str = "aligned"
) -> pa.Table:
    """`sample_id`, `label` (strings; null = none) and, where the file has it, `aligned`; one row a sample.

    Args:
        label, aligned: what the file calls these columns.

    Raises: InputError: the file cannot be read, a column is missing, or two labels of one sample differ.
    """
    filesystem, place = open_uri(path, storage, what="labels")
    try:
        with filesystem.open_input_file(place) as stream:
            table = read_rows(stream, place, "sample_id", label)
        missing = [name for name in ("sample_id", label) if name not in table.column_names]
        if missing:
            raise InputError(
                f"labels: {path!r} has no column {missing[0]!r}; found {table.column_names}; rename one, or set "
                "evaluate.label_column"
            )
        columns = {"sample_id": table["sample_id"].cast(pa.string()), "label": table[label].cast(pa.string())}
        if aligned in table.column_names:
            columns["aligned"] = table[aligned].cast(pa.bool_())
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
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
        return pq.read_table(stream)
    text = csv.ConvertOptions(column_types=dict.fromkeys(text_columns, pa.string()))
    return csv.read_csv(stream, convert_options=text)


def _one_each(table: pa.Table, path: str) -> pa.Table:
    """One row a sample; several annotators may have said the same.

    Raises: InputError: they said different things, or a row has no id.
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


def labeled_samples(table: pa.Table, files: Sequence[str], filesystem: fs.FileSystem, *, where: str) -> Labeled:
    """The embedded samples that have a label.

    Args:
        table: of `read_labels`; rows without a label count for nothing.
        files: Parquet of the EMBEDDING schema.
        where: the labels come from, for errors.

    Raises: InputError: labels of fewer than two classes. TableError: embeddings that break their schema.
    """
    table = table.filter(table["label"].is_valid())
    found, num_embedded = _embeddings_of(table["sample_id"], files, filesystem)
    places = pc.call_function("index_in", [found["sample_id"]], pc.SetLookupOptions(value_set=table["sample_id"]))
    table = table.take(places)
    classes = table["label"].unique()
    if len(classes) < MIN_CLASSES:
        raise InputError(
            f"labels: {found.num_rows} of {num_embedded} embedded samples have a label in {where}, of "
            f"{len(classes)} classes; give a .csv or .parquet file with labels of at least two classes"
        )
    known = None
    if "aligned" in table.column_names and table["aligned"].null_count < table.num_rows:
        known = [aligned is False for aligned in table["aligned"].to_pylist()]
    return labeled(found["sample_id"].to_pylist(), *_views(found), table["label"].to_pylist(), known)


def embedded_samples(files: Sequence[str], filesystem: fs.FileSystem, limit: int) -> Labeled:
    """Embedded samples without labels; of more than `limit` those of lowest hash.

    Raises: TableError: embeddings that break their schema.
    """
    ids = ds.dataset(list(files), filesystem=filesystem, format="parquet").to_table(columns=["sample_id"])["sample_id"]
    lowest = np.argsort(hash_ids(ids.to_pylist(), salt="tune"), kind="stable")[:limit]
    found, _ = _embeddings_of(ids.take(lowest), files, filesystem)
    return unlabeled(found["sample_id"].to_pylist(), *_views(found))


def in_other_embeddings(samples: Labeled, files: Sequence[str], filesystem: fs.FileSystem, *, where: str) -> Labeled:
    """The same samples, as another encoder sees them.

    Raises: InputError: some are missing there. TableError: embeddings that break their schema.
    """
    found, _ = _embeddings_of(pa.array(samples.ids, pa.string()), files, filesystem)
    if found.num_rows < len(samples):
        missing = sorted(set(samples.ids) - set(found["sample_id"].to_pylist()))
        raise InputError(
            f"embeddings {where!r}: {len(missing)} of {len(samples)} labeled samples are not there, first "
            f"{missing[:NUM_NAMED]}; embed them with this encoder too, or leave their labels out"
        )
    found = found.sort_by("sample_id")
    a_ND, v_ND = _views(found)
    return replace(samples, a_ND=a_ND, v_ND=v_ND)


def _embeddings_of(ids: pa.Array | pa.ChunkedArray, files: Sequence[str], filesystem) -> tuple[pa.Table, int]:
    """The embedded samples among these ids, and how many samples are embedded in all."""
    source = ds.dataset(list(files), filesystem=filesystem, format="parquet")
    vectors = [name for name in source.schema.names if name.endswith(SUFFIX)]
    if len(vectors) != 2 or "sample_id" not in source.schema.names:
        raise TableError(
            f"embeddings: expected sample_id and two columns <modality>{SUFFIX}, found {source.schema.names}"
        )
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    found = source.to_table(columns=["sample_id", *vectors], filter=ds.field("sample_id").isin(ids))
    check_unique_ids(found["sample_id"], name="embeddings")
    return found, source.count_rows()


def _views(found: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of both modalities, float32 [N, D]."""
    first, second = (name.removesuffix(SUFFIX) for name in found.column_names if name.endswith(SUFFIX))
    return read_vectors(found, first), read_vectors(found, second)
