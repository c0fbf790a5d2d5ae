"""Reads a run directory into RunFacts. Every table but the selection may be absent."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.clip import read_tensor
from mmcsal.contracts.embedding import modalities_of
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.metric import METRIC
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.selection import SELECTION
from mmcsal.redaction import redacted
from mmcsal.report.facts import ContactClip, Pick, RejectCount, RunFacts, Series
from mmcsal.report.lookup import rows_of_ids
from mmcsal.report.plane import map_points
from mmcsal.report.spec import ReportSpec
from mmcsal.report.stages import REPORTED, stage_runs
from mmcsal.storage.rundir import RunDir

# What the report cannot say without a table.
ABSENT = {
    "manifest": "There is no manifest/: how many samples were scanned is not known.",
    "clips": "There are no clips/: the contact sheet is left out.",
    "rejects": "There are no rejects/: what could not be read is not known.",
    "embeddings": "There are no embeddings/: the map is left out.",
    "metrics": "There are no metrics/: the modality gap and the training curves are left out.",
}
VISUAL_COLUMNS = ("video", "image")


def gather(run_dir: RunDir, spec: ReportSpec) -> RunFacts:
    """Everything that the report shows, read with bounded memory.

    Raises:
        InputError: the run directory holds no selection.
    """
    if not run_dir.parts("selection"):
        raise InputError(f"{run_dir.uri} holds no selection/*.parquet; a report needs one: run `mmcsal select` first")
    picks = read_picks(run_dir)
    receipts = {stage.folder: run_dir.committed(stage.folder) for stage in REPORTED}
    counts = {folder: _count_rows(run_dir, folder) for folder in ("manifest", "clips", "embeddings")}
    selection_receipt = receipts["selection"] or {}
    summary = selection_receipt.get("summary") or {}
    embeddings = run_dir.dataset("embeddings") if counts["embeddings"] else None
    rejects, series = _rejects(run_dir, counts["clips"]), _series(run_dir)
    num_pool = summary.get("num_pool", counts["embeddings"])
    facts = RunFacts(
        run_name=run_dir.root.rstrip("/").rsplit("/", 1)[-1],
        picks=picks[: max(spec.num_table_picks, spec.num_contact_clips)],
        num_selected=len(picks),
        round=max((pick.round for pick in picks), default=0),
        selected_at=selection_receipt.get("committed_at"),
        summary=summary,
        modalities=tuple(modalities_of(embeddings.schema)) if embeddings else (),
        num_scanned=counts["manifest"],
        num_clips=counts["clips"],
        num_pool=num_pool,
        rejects=rejects,
        contact=_contact_clips(run_dir, picks[: spec.num_contact_clips]),
        map_points=map_points(embeddings, picks, spec.num_map_points) if embeddings else None,
        series=series,
        stage_runs=stage_runs(run_dir, receipts, _num_samples(counts, rejects, num_pool), series),
        config_text=redacted(run_dir.read_bytes("config.yaml").decode(errors="replace"))
        if run_dir.exists("config.yaml")
        else None,
    )
    return _with_notes(facts, run_dir, receipts)


def read_picks(run_dir: RunDir) -> tuple[Pick, ...]:
    """The whole selection by rank; as long as the budget, not as the pool."""
    # By the schema: columns that are younger than the run are null.
    table = run_dir.dataset("selection", SELECTION).to_table(columns=SELECTION.names)
    table = table.sort_by([("rank", "ascending"), ("sample_id", "ascending")])
    return tuple(Pick(**row) for row in table.to_pylist())


def _count_rows(run_dir: RunDir, folder: str) -> int | None:
    return run_dir.dataset(folder).count_rows() if run_dir.parts(folder) else None


def _rejects(run_dir: RunDir, num_clips: int | None) -> tuple[RejectCount, ...] | None:
    """Counts by reason, the most frequent first; none at all (not: unknown) where clips lie without rejects."""
    if not run_dir.parts("rejects"):
        return () if num_clips else None
    counts: Counter[str] = Counter()
    stages: dict[str, set[str]] = {}
    examples: dict[str, tuple[str, str, str]] = {}
    for batch in run_dir.dataset("rejects").to_batches(columns=REJECT.names):
        for row in batch.to_pylist():
            reason = row["reason"]
            counts[reason] += 1
            stages.setdefault(reason, set()).add(row["stage"])
            example = (row["sample_id"], row["uri"] or row["sample_id"], row["detail"])
            examples[reason] = min(examples.get(reason, example), example)
    by_count = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return tuple(RejectCount(r, counts[r], tuple(sorted(stages[r])), *examples[r][1:]) for r in by_count)


def _contact_clips(run_dir: RunDir, picks: tuple[Pick, ...]) -> tuple[ContactClip, ...]:
    """The picks that have a clip or a text to show, by rank."""
    ids = [pick.sample_id for pick in picks]
    if not ids:
        return ()
    texts = _texts(run_dir, ids)
    clips = _clips(run_dir, ids)
    contact = [ContactClip(p, text=texts.get(p.sample_id), **clips.get(p.sample_id, {})) for p in picks]
    return tuple(c for c in contact if c.frames_THWC is not None or c.sound_L is not None or c.text)


def _texts(run_dir: RunDir, ids: list[str]) -> dict[str, str]:
    wanted = pc.field("sample_id").isin(ids) & pc.field("text").is_valid()
    table = run_dir.dataset("manifest", MANIFEST).to_table(columns=["sample_id", "text"], filter=wanted)
    return dict(zip(table["sample_id"].to_pylist(), table["text"].to_pylist(), strict=True))


def _clips(run_dir: RunDir, ids: list[str]) -> dict[str, dict[str, Any]]:
    if not run_dir.parts("clips"):
        return {}
    dataset = run_dir.dataset("clips")
    visual = next((name for name in VISUAL_COLUMNS if name in dataset.schema.names), None)
    present = [name for name in ("audio", "duration_s") if name in dataset.schema.names]
    columns = ["sample_id", *present, *([visual] if visual else [])]
    return _clip_rows(rows_of_ids(dataset, ids, columns), visual)


def _clip_rows(table: pa.Table, visual: str | None) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {i: {} for i in table["sample_id"].to_pylist()}
    columns: dict[str, Any] = {}
    if visual and table.num_rows:
        frames = read_tensor(table, visual)
        columns["frames_THWC"] = frames if frames.ndim == 5 else frames[:, None]  # an image is one frame
    if "audio" in table.column_names and table.num_rows:
        columns["sound_L"] = read_tensor(table, "audio")
        rate_hz = int(table.schema.field("audio").metadata[b"sample_rate_hz"])
        columns["sample_rate_hz"] = [rate_hz] * table.num_rows
    if "duration_s" in table.column_names:
        columns["duration_s"] = table["duration_s"].to_pylist()
    for index, row in enumerate(rows.values()):
        row.update({name: values[index] for name, values in columns.items()})
    return rows


def _series(run_dir: RunDir) -> tuple[Series, ...]:
    """Every metric by (stage, name), over epochs; where one was measured twice, the later row holds."""
    table = run_dir.dataset("metrics", METRIC).to_table(columns=METRIC.names)
    values: dict[tuple[str, str], dict[int | None, float]] = {}
    for row in table.to_pylist():
        values.setdefault((row["stage"], row["name"]), {})[row["epoch"]] = row["value"]
    series = []
    for (stage, name), by_epoch in sorted(values.items()):
        epochs = tuple(sorted(epoch for epoch in by_epoch if epoch is not None))
        if epochs:
            series.append(Series(stage, name, epochs, tuple(by_epoch[e] for e in epochs)))
        else:
            series.append(Series(stage, name, (), (by_epoch[None],)))
    return tuple(series)


def _num_samples(
    counts: dict[str, int | None], rejects: tuple[RejectCount, ...] | None, num_pool: int | None
) -> dict[str, int | None]:
    """How many samples each stage went through, by folder; decoding also those that it rejected."""
    num_rejected = sum(r.count for r in rejects or ())
    num_read = None if counts["clips"] is None else counts["clips"] + num_rejected
    return {**counts, "clips": num_read, "selection": num_pool}


def _with_notes(facts: RunFacts, run_dir: RunDir, receipts: dict[str, dict[str, Any] | None]) -> RunFacts:
    """Adds one sentence for each thing that the reader might miss or should not trust."""
    known = {
        "manifest": facts.num_scanned is not None,
        "clips": facts.num_clips is not None,
        "rejects": facts.rejects is not None,
        "embeddings": bool(run_dir.parts("embeddings")),
        "metrics": bool(facts.series),
    }
    notes = [sentence for folder, sentence in ABSENT.items() if not known[folder]]
    if known["embeddings"] and facts.map_points is None:
        notes.append("embeddings/ holds none of the picks: the map is left out.")
    for stage in REPORTED:
        if run_dir.parts(stage.folder) and receipts[stage.folder] is None:
            notes.append(
                f"{stage.folder}/ has no completion marker: the stage may not have finished, its counts may be partial."
            )
    notes += [f"{stage.title}: {warning}." for stage in REPORTED for warning in _warnings(receipts[stage.folder])]
    if facts.num_scanned is not None and facts.num_clips is not None:
        lost = facts.num_scanned - facts.num_clips - (facts.num_rejected or 0)
        if lost > 0:
            notes.append(
                f"{lost:,} scanned samples are neither in clips/ nor in rejects/: ingest may not have finished."
            )
    return replace(facts, notes=tuple(notes))


def _warnings(receipt: dict[str, Any] | None) -> list[str]:
    """What a stage found wrong with its own result."""
    return (receipt or {}).get("warnings") or []
