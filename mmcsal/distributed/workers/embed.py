"""Embeds partitions inside a Ray actor that holds the encoders."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from mmcsal.config import EmbedSpec
from mmcsal.contracts.clip import read_tensor
from mmcsal.contracts.embedding import SUFFIX, embedding_schema, vector_column
from mmcsal.contracts.errors import MmcsalError
from mmcsal.contracts.table import conform
from mmcsal.distributed.cluster.telemetry import EMBED_SECONDS, SAMPLES_EMBEDDED, record
from mmcsal.distributed.workers.map_partitions import PartitionWorker
from mmcsal.distributed.workers.trainer import trained_model
from mmcsal.models.two_tower import MODALITIES
from mmcsal.storage.rundir import RunDir
from mmcsal.training.embed import close_gap
from mmcsal.training.embed import embed_clips as embed_batch


class EmbedWorker(PartitionWorker):
    """Holds the encoders and embeds one partition after another."""

    def __init__(self, run_dir: RunDir, spec: EmbedSpec) -> None:
        # One thread: the sums of a matrix product depend on their number, and the result must not.
        torch.set_num_threads(1)
        self._run_dir, self._spec = run_dir, spec
        self._device = "cuda" if ray.get_gpu_ids() else "cpu"
        model, self._centroids = trained_model(run_dir)
        self._model = model.to(self._device)

    def run(self, part: str) -> None:
        begun_s = time.perf_counter()
        clips = self._run_dir.read_part("clips", part, columns=["sample_id", "video", "audio"])
        self._run_dir.write_part("embeddings", part, self._embed(clips))
        record(SAMPLES_EMBEDDED, clips.num_rows)
        record(EMBED_SECONDS, time.perf_counter() - begun_s)

    def _embed(self, clips: pa.Table) -> pa.Table:
        video, audio = (torch.from_numpy(read_tensor(clips, m).copy()) for m in MODALITIES)
        embedded = embed_batch(self._model, video, audio, batch_size=self._spec.batch_size)
        columns: dict[str, Any] = {"sample_id": clips["sample_id"]}
        widths = {}
        for modality, vectors in zip(MODALITIES, embedded, strict=True):
            if self._spec.centroid_shift:
                vectors = close_gap(vectors, modality, self._centroids)
            vectors_ND = vectors.cpu().numpy()
            _check_finite(vectors_ND, modality, clips["sample_id"])
            columns[f"{modality}{SUFFIX}"] = vector_column(vectors_ND)
            widths[modality] = vectors_ND.shape[1]
        return conform(pa.table(columns), embedding_schema(widths), name="embeddings")


def _check_finite(vectors_ND: np.ndarray, modality: str, sample_ids: pa.ChunkedArray) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors_ND).all(axis=1))
    if len(bad):
        first = sample_ids.take(bad[:3]).to_pylist()
        raise MmcsalError(f"embed: {len(bad)} {modality} embeddings are not finite, first of {first}; train again")
