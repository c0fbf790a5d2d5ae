"""Labels as annotators hand them in, a .csv or .parquet file with an id and a label a row; and their embeddings."""

from collections.abc import Callable, Sequence
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
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.table import check_unique_ids
from mmcsal.evaluation.data import Labeled, labeled, unlabeled
from mmcsal.evaluation.spec import EvaluateSpec
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec, is_of_service, open_uri
from mmcsal.training.finetune.spec import FinetuneSpec

NUM_NAMED = 3
MIN_CLASSES = 2


def labels_of(
    spec: EvaluateSpec | FinetuneSpec, section: str, storage: StorageSpec, manifest: Callable[[], ds.Dataset]
) -> tuple[pa.Table, str]:
    """The labels of the file that is named, else of the manifest; and where they come from, for errors.

    Args: section: of the configuration, that the spec is.
    Raises: InputError: see `read_labels`.
    """
    if spec.labels is None:
        table = manifest().to_table(columns=["sample_id", "label"])
        return table, f"the manifest ({section}.labels names a file)"
    columns = {"label": spec.label_column, "aligned": spec.aligned_column}
    return read_labels(spec.labels, storage, section=section, **columns), repr(spec.labels)


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
        label, aligned: what the file calls these columns.
        section: of the configuration, whose `label_column` says so.

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
                f"{section}.label_column"
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
    return _labeled(
        table.take(places), *_views(found), told=f"{found.num_rows} of {num_embedded} embedded", where=where
    )


def _labeled(table: pa.Table, a_ND: np.ndarray, v_ND: np.ndarray, *, told: str, where: str) -> Labeled:
    """Raises: InputError: labels of fewer than two classes."""
    classes = table["label"].unique()
    if len(classes) < MIN_CLASSES:
        raise InputError(
            f"labels: {told} samples have a label in {where}, of "
            f"{len(classes)} classes; give a .csv or .parquet file with labels of at least two classes"
        )
    known = None
    if "aligned" in table.column_names and table["aligned"].null_count < table.num_rows:
        known = [aligned is False for aligned in table["aligned"].to_pylist()]
    return labeled(table["sample_id"].to_pylist(), a_ND, v_ND, table["label"].to_pylist(), known)


def labeled_clips(table: pa.Table, run_dir: RunDir, *, where: str) -> tuple[Labeled, list[str]]:
    """The clips that have a label, without embeddings (of width 0); and warnings.

    Args: table, where: as of `labeled_samples`.
    Raises: InputError: labels of samples that this run does not have, or of fewer than two classes.
    """
    table = table.filter(table["label"].is_valid())
    clips = run_dir.dataset("clips")
    absent = _without(table["sample_id"], clips)
    rejected = len(absent) - len(unknown := _without(absent, run_dir.dataset("rejects", REJECT)))
    if len(unknown):
        raise InputError(
            f"labels: {len(unknown)} of {table.num_rows} labeled samples in {where} are none of this run's "
            f"({run_dir.path('clips')}), first {sorted(unknown.to_pylist())[:NUM_NAMED]}; leave them out, or give the "
            "--run-dir of the run that they were picked in"
        )
    table = table.filter(pc.call_function("invert", [_is_in(table["sample_id"], absent)]))
    nothing_ND = np.zeros((table.num_rows, 0), np.float32)
    told = f"{table.num_rows} of {clips.count_rows()} ingested"
    samples = _labeled(table, nothing_ND, nothing_ND, told=told, where=where)
    told = f"{rejected} labeled samples were rejected by ingest and are left out; see {run_dir.path('rejects')}"
    return samples, [told] if rejected else []


def _without(ids: pa.Array | pa.ChunkedArray, source: ds.Dataset) -> pa.Array | pa.ChunkedArray:
    """Those of the ids that are not in the column sample_id of a table."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    there = source.to_table(columns=["sample_id"], filter=ds.field("sample_id").isin(ids))["sample_id"]
    return ids.filter(pc.call_function("invert", [_is_in(ids, there)]))


def _is_in(ids: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.call_function("is_in", [ids], pc.SetLookupOptions(value_set=among))


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
