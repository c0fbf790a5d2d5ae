"""Labels and embeddings or clips, joined by sample_id into `Samples`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from mmcsal.contracts.embedding import SUFFIX, read_vectors
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.contracts.ids import hash_ids
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.table import check_unique_ids
from mmcsal.evaluation.samples import Samples, labeled, unlabeled
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.tables import Rows, rows_of

NUM_NAMED = 3
MIN_CLASSES = 2


def labeled_samples(table: pa.Table, files: Sequence[str], filesystem: fs.FileSystem, *, where: str) -> Samples:
    """The embedded samples that have a label.

    Args:
        table: of `labeling.label_file`; rows without a label count for nothing.
        files: Parquet of the EMBEDDING schema.
        where: the labels come from, for errors.

    Raises:
        InputError: labels of fewer than two classes.
        TableError: embeddings that break their schema.
    """
    table = table.filter(table["label"].is_valid())
    found, num_embedded = _embeddings_of(table["sample_id"], files, filesystem)
    places = pc.call_function("index_in", [found["sample_id"]], pc.SetLookupOptions(value_set=table["sample_id"]))
    share = f"{found.num_rows} of {num_embedded} embedded"
    return _labeled(table.take(places), *_views(found), share=share, where=where)


def _labeled(table: pa.Table, a_ND: np.ndarray, v_ND: np.ndarray, *, share: str, where: str) -> Samples:
    """The samples that have a label, with its number.

    Args:
        share: which samples these are, for errors; such as `12 of 40 embedded`.

    Raises:
        InputError: labels of fewer than two classes.
    """
    classes = table["label"].unique()
    if len(classes) < MIN_CLASSES:
        raise InputError(
            f"labels: {share} samples have a label in {where}, of "
            f"{len(classes)} classes; give a .csv or .parquet file with labels of at least two classes"
        )
    known = None
    if "aligned" in table.column_names and table["aligned"].null_count < table.num_rows:
        known = [aligned is False for aligned in table["aligned"].to_pylist()]
    return labeled(table["sample_id"].to_pylist(), a_ND, v_ND, table["label"].to_pylist(), known)


def labeled_clips(table: pa.Table, run_dir: RunDir, *, where: str) -> tuple[Samples, list[str]]:
    """The clips that have a label, without embeddings (of width 0); and warnings.

    Args:
        table: as of `labeled_samples`.
        where: as of `labeled_samples`.

    Raises:
        InputError: labels of samples that this run does not have, or of fewer than two classes.
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
    share = f"{table.num_rows} of {clips.count_rows()} ingested"
    samples = _labeled(table, nothing_ND, nothing_ND, share=share, where=where)
    warning = f"{rejected} labeled samples were rejected by ingest and are left out; see {run_dir.path('rejects')}"
    return samples, [warning] if rejected else []


def _without(ids: pa.Array | pa.ChunkedArray, source: Rows) -> pa.Array | pa.ChunkedArray:
    """Those of the ids that are not in the column sample_id of a table."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    there = source.to_table(columns=["sample_id"], filter=pc.field("sample_id").isin(ids))["sample_id"]
    return ids.filter(pc.call_function("invert", [_is_in(ids, there)]))


def _is_in(ids: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.call_function("is_in", [ids], pc.SetLookupOptions(value_set=among))


def embedded_samples(files: Sequence[str], filesystem: fs.FileSystem, limit: int) -> Samples:
    """Embedded samples without labels; of more than `limit` those of lowest hash.

    Raises:
        TableError: embeddings that break their schema.
    """
    ids = rows_of(files, filesystem, where="embeddings").to_table(columns=["sample_id"])["sample_id"]
    lowest = np.argsort(hash_ids(ids.to_pylist(), salt="tune"), kind="stable")[:limit]
    found, _ = _embeddings_of(ids.take(lowest), files, filesystem)
    return unlabeled(found["sample_id"].to_pylist(), *_views(found))


def in_other_embeddings(samples: Samples, files: Sequence[str], filesystem: fs.FileSystem, *, where: str) -> Samples:
    """The same samples, as another encoder sees them.

    Raises:
        InputError: some are missing there.
        TableError: embeddings that break their schema.
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
    source = rows_of(files, filesystem, where="embeddings")
    vectors = [name for name in source.schema.names if name.endswith(SUFFIX)]
    if len(vectors) != 2 or "sample_id" not in source.schema.names:
        raise TableError(
            f"embeddings: expected sample_id and two columns <modality>{SUFFIX}, found {source.schema.names}"
        )
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    found = source.to_table(columns=["sample_id", *vectors], filter=pc.field("sample_id").isin(ids))
    check_unique_ids(found["sample_id"], name="embeddings")
    return found, source.count_rows()


def _views(found: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of both modalities, float32 [N, D]."""
    first, second = (name.removesuffix(SUFFIX) for name in found.column_names if name.endswith(SUFFIX))
    return read_vectors(found, first), read_vectors(found, second)
