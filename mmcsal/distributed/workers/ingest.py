"""Decodes partitions inside a Ray actor; apart from the stage, so that the actor loads neither torch nor config."""

from typing import Any

import numpy as np
import pyarrow as pa

from mmcsal.contracts.clip import clip_schema, tensor_column
from mmcsal.contracts.reject import REJECT, Reason
from mmcsal.contracts.table import conform
from mmcsal.distributed.cluster.telemetry import DECODE_SECONDS, SAMPLES_DECODED, SAMPLES_REJECTED, record
from mmcsal.distributed.workers.map_partitions import PartitionWorker
from mmcsal.media.decode import Clip, Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.fetch import decode_fetched
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.rundir import RunDir

# Small enough that a reader who wants a few clips decompresses little.
CLIPS_PER_ROW_GROUP = 16


class IngestWorker(PartitionWorker):
    """Decodes one partition after another in a child process of its own."""

    def __init__(self, run_dir: RunDir, media: MediaSpec) -> None:
        self._run_dir, self._media = run_dir, media
        self._decoder = DecodeProcess(media)

    def run(self, part: str) -> None:
        rows = self._run_dir.read_part("manifest", part).to_pylist()
        sources: list[Source] = []
        clips: list[tuple[Source, Clip]] = []
        rejects: list[dict[str, Any]] = []
        for row in rows:
            error = known_error(row)
            if error is None:
                sources.append(source_of(row))
            else:
                record(SAMPLES_REJECTED, reason=str(error.reason))
                rejects.append(_reject_row(source_of(row), error))
        results = decode_fetched(sources, self._decoder.map, self._run_dir.storage)
        for source, result in zip(sources, results, strict=True):
            record(DECODE_SECONDS, self._decoder.last_decode_s)
            if isinstance(result, MediaError):
                record(SAMPLES_REJECTED, reason=str(result.reason))
                rejects.append(_reject_row(source, result))
            else:
                record(SAMPLES_DECODED)
                clips.append((source, result))
        # The clips last: a part of clips that is there says that its rejects are there too.
        self._run_dir.write_part("rejects", part, pa.Table.from_pylist(rejects, schema=REJECT))
        self._run_dir.write_part("clips", part, clip_table(clips, self._media), row_group_size=CLIPS_PER_ROW_GROUP)

    def close(self) -> None:
        """Ends the decoder process."""
        self._decoder.close()


def clip_table(clips: list[tuple[Source, Clip]], media: MediaSpec) -> pa.Table:
    """The CLIP table of decoded samples."""
    schema = clip_schema(
        num_frames=media.num_frames,
        frame_size_px=media.frame_size_px,
        num_audio_samples=media.num_audio_samples,
        sample_rate_hz=media.sample_rate_hz,
    )
    if not clips:
        return schema.empty_table()
    columns = {
        "sample_id": [source.sample_id for source, _ in clips],
        "video": tensor_column(np.stack([clip.video_THWC for _, clip in clips])),
        "audio": tensor_column(np.stack([clip.audio_L for _, clip in clips])),
        "duration_s": [clip.duration_s for _, clip in clips],
        "source_width_px": [clip.facts.width_px for _, clip in clips],
        "source_height_px": [clip.facts.height_px for _, clip in clips],
        "source_frame_rate_hz": [clip.facts.frame_rate_hz for _, clip in clips],
        "source_sample_rate_hz": [clip.facts.sample_rate_hz for _, clip in clips],
    }
    return conform(pa.table(columns), schema, name="clips")


def source_of(row: dict[str, Any]) -> Source:
    """The source of a row of the MANIFEST."""
    return Source(
        row["sample_id"], row["uri"], row["audio_uri"], row["start_s"], row["duration_s"], row["content_hash"]
    )


def known_error(row: dict[str, Any]) -> MediaError | None:
    """Of a row of the MANIFEST that the scan has seen to be unreadable."""
    reason = row.get("reject_reason")  # manifests of before 0.3 have none
    return MediaError(Reason(reason), row["reject_detail"]) if reason else None


def _reject_row(source: Source, error: MediaError) -> dict[str, Any]:
    return {
        "sample_id": source.sample_id,
        "uri": source.uri,
        "stage": "ingest",
        "reason": str(error.reason),
        "detail": error.detail,
    }
