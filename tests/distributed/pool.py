"""A small labeled pool on disk, and a command that runs in this process and its Ray session."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal.cli import main
from mmcsal.contracts.embedding import vector_column

NUM_ROWS, NUM_CLASSES, NUM_LABELED = 240, 6, 200


def write_pool(root: Path) -> Path:
    """Embeddings of classes in `e/`, one pair in ten shuffled, and `labels.csv`, which knows it; some have no label."""
    rng = np.random.default_rng(0)
    label_N = rng.choice(NUM_CLASSES, NUM_ROWS, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.05])
    latent_ND = rng.normal(size=(NUM_CLASSES, 8))[label_N] + 0.5 * rng.normal(size=(NUM_ROWS, 8))
    video_ND, audio_ND = (np.tanh(latent_ND @ rng.normal(size=(8, d))).astype(np.float32) for d in (10, 14))
    rows = np.flatnonzero(rng.random(NUM_ROWS) < 0.1)
    audio_ND[rows] = audio_ND[np.roll(rows, 1)]
    ids = [f"clip-{n:03d}" for n in range(NUM_ROWS)]
    table = pa.table(
        {"sample_id": ids, "video_embedding": vector_column(video_ND), "audio_embedding": vector_column(audio_ND)}
    )
    (root / "e").mkdir()
    for n in range(2):
        pq.write_table(table.slice(120 * n, 120), root / "e" / f"{n}.parquet")
    lines = [f"{i},class {label},{n not in rows}" for n, (i, label) in enumerate(zip(ids, label_N, strict=True))]
    text = "\n".join(["sample_id,label,aligned", *lines[:NUM_LABELED], "elsewhere,class 1,true"])
    (root / "labels.csv").write_text(text)
    return root


def run_here(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """The exit code of `mmcsal ARGUMENTS`, its stdout and its stderr."""
    monkeypatch.setattr(sys, "argv", ["mmcsal", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    return end.value.code or 0, told.out, told.err
