"""Corpus -> MANIFEST, and MANIFEST -> CLIP and REJECT in one pass over the media."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError, MmcsalError, RejectLimitError
from mmcsal.contracts.ids import partitions_of
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.table import check_unique_ids, conform
from mmcsal.datasets import Scan, read_corpus
from mmcsal.distributed.cluster.resources import capacity, resource_request
from mmcsal.distributed.workers.ingest import IngestWorker, known_error, source_of
from mmcsal.distributed.workers.map_partitions import run_partitions
from mmcsal.media.segments import in_segments, lengths_s
from mmcsal.storage.rundir import PART_NAME, RunDir

NUM_TRIES = 3  # of partitions that do not hold what they should
NUM_READERS = 8


def scan_corpus(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Writes the MANIFEST, one file a partition; the partition of a sample is a hash of its id.

    Returns:
        the receipt: what is left out, by group, and a digest of the content, since another corpus under the same path
            is another manifest.

    Raises:
        InputError: the corpus is not there, is empty, or repeats ids.
    """
    scan, table = list_samples(config)
    if config.media.window == "segments":
        table = _in_segments(table, config)
    num_parts = -(-table.num_rows // config.ingest.samples_per_partition)
    part_of_row = partitions_of(table["sample_id"].to_pylist(), num_parts)
    rows_by_part = np.argsort(part_of_row, kind="stable")
    ends = np.cumsum(np.bincount(part_of_row, minlength=num_parts))
    for part, rows in enumerate(np.split(rows_by_part, ends[:-1])):
        run_dir.write_part("manifest", PART_NAME.format(part), table.take(rows).sort_by("sample_id"))
        progress(part + 1, num_parts)
    counts = {"num_samples": table.num_rows, "num_parts": num_parts, "left_out": dict(scan.left_out)}
    return {**counts, "warnings": scan.warnings(), "digest": _digest(table)}


def list_samples(config: RunConfig, *, has_hashes: bool = True) -> tuple[Scan, pa.Table]:
    """What the corpus holds, and the MANIFEST of it, in one chunk; for `has_hashes` see `read_corpus`.

    Raises:
        InputError: see `scan_corpus`.
    """
    if config.corpus is None:
        raise InputError("no corpus is given; add --corpus FOLDER (or a .csv or .parquet manifest), or set `corpus`")
    scan = read_corpus(config.corpus, config.storage, has_hashes=has_hashes)
    return scan, _checked(scan.manifest)


def _checked(manifest: pa.Table) -> pa.Table:
    table = conform(manifest, MANIFEST, name="manifest").combine_chunks()
    check_unique_ids(table["sample_id"], name="manifest")
    return table


def _in_segments(manifest: pa.Table, config: RunConfig) -> pa.Table:
    """The manifest with long samples cut into windows; what the scan knows to be unreadable is not looked at."""
    rows = manifest.to_pylist()
    whole = [number for number, row in enumerate(rows) if known_error(row) is None]
    lengths: list[float | None] = [None] * len(rows)
    found = lengths_s([source_of(rows[number]) for number in whole], config.media, config.storage)
    for number, length_s in zip(whole, found, strict=True):
        lengths[number] = length_s
    return _checked(in_segments(manifest, lengths, config.media.window_s))


def ingest_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Decodes every sample of the manifest once, into CLIP or REJECT.

    Raises:
        RejectLimitError: more than `max_reject_fraction` of the samples were rejected, or all of them.
        MmcsalError: partitions do not hold each of their samples once, however often they are decoded.
    """
    constructor = {"run_dir": run_dir, "media": config.media}
    found = capacity(config.cluster)
    num_workers = resource_request("ingest", config, found).num_workers(found)
    for _ in range(NUM_TRIES):
        run_partitions(run_dir, "clips", IngestWorker, constructor, num_workers=num_workers, progress=progress)
        incomplete = incomplete_parts(run_dir)
        if not incomplete:
            return _check_rejects(run_dir, config)
        for name in incomplete:
            run_dir.delete_file("clips", name)
    raise MmcsalError(
        f"ingest: {len(incomplete)} partitions, first {incomplete[0]}, did not hold each of their samples once, "
        f"{NUM_TRIES} times in a row; is something else writing into {run_dir.uri}? Then run the same command"
    )


def incomplete_parts(run_dir: RunDir) -> list[str]:
    """Parts of which the clips and the rejects are not, together, each sample of the manifest once.

    A part is two files, so two writers of one part, of whom one was taken for dead, can mix their two outcomes.
    """
    rejects = set(run_dir.parts("rejects"))

    def is_incomplete(name: str) -> bool:
        results = [_ids(run_dir, "clips", name), _ids(run_dir, "rejects", name) if name in rejects else []]
        return sorted(chain(*results)) != _ids(run_dir, "manifest", name)

    names = run_dir.parts("manifest")
    with ThreadPoolExecutor(NUM_READERS) as pool:
        return [name for name, bad in zip(names, pool.map(is_incomplete, names), strict=True) if bad]


def _ids(run_dir: RunDir, folder: str, name: str) -> list[str]:
    return sorted(run_dir.read_part(folder, name, columns=["sample_id"])["sample_id"].to_pylist())


def _check_rejects(run_dir: RunDir, config: RunConfig) -> dict[str, Any]:
    num_clips = run_dir.dataset("clips").count_rows()
    reasons = run_dir.dataset("rejects", REJECT).to_table(columns=["reason"])["reason"]
    counts = {row["values"]: row["counts"] for row in reasons.value_counts().to_pylist()}
    num_rejects = len(reasons)
    num_samples = num_rejects + num_clips
    fraction = num_rejects / max(num_samples, 1)
    if num_clips == 0 or fraction > config.max_reject_fraction:
        listed = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items(), key=lambda item: -item[1]))
        remedy = "mend the corpus" if num_clips == 0 else "mend the corpus or raise max_reject_fraction"
        raise RejectLimitError(
            f"ingest: {num_rejects} of {num_samples} samples cannot be used ({listed}); max_reject_fraction "
            f"is {config.max_reject_fraction:g}; see {run_dir.path('rejects')}, then {remedy} and run the same command"
        )
    return {"num_clips": num_clips, "num_rejects": num_rejects, "rejects": counts}


def _digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return blake2b(sink.getvalue(), digest_size=16).hexdigest()
