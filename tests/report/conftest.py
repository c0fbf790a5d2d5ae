"""A small run directory with real tables, as the stages would leave it."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.clip import clip_schema, tensor_column
from mmcsal.contracts.embedding import embedding_schema, vector_column
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.metric import METRIC
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.selection import SELECTION
from mmcsal.contracts.table import conform
from mmcsal.report.build import build_report
from mmcsal.report.spec import ReportSpec
from mmcsal.storage.rundir import PART_NAME, RunDir

SAMPLE_RATE_HZ = 16_000
REJECTED = {"no_audio": 5, "decode_error": 3, "empty_file": 1, "too_short": 2}
SUMMARY = {
    "num_pool": 120,
    "budget": 32,
    "coverage": 0.8125,
    "coverage_random": 0.664,
    "random_equivalent_budget": 71,
    "separation": 0.42,
    "mean_alignment": 0.91,
    "num_cells": 4,
}
RECEIPTS = {
    "manifest": {"wall_s": 1.2},
    "clips": {"wall_s": 95.0, "num_retries": 1},
    "checkpoints": {"wall_s": 840.0, "num_epochs": 12, "num_retries": 2},
    "embeddings": {"wall_s": 31.0, "resumed": False, "num_workers": 4},
}
LOSSES = {"loss": 4.0, "loss_cross": 2.0, "loss_proto": 1.5, "loss_centroid": 0.5}

MakeRun = Callable[..., RunDir]


class Page(HTMLParser):
    """An HTML page: tags with their attributes, and the text outside of styles, with white space collapsed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.cells: list[list[str]] = []
        self._parts: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._parts.append(data)
        if self.cells and ("td" in self._open or "th" in self._open):
            self.cells[-1][-1] = " ".join((self.cells[-1][-1] + data).split())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._parts).split())

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def sections(self) -> list[str]:
        return [attrs["id"] for attrs in self.attributes("section")]

    def row_of(self, first_cell: str) -> list[str]:
        return next(row for row in self.cells if row and row[0] == first_cell)


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    """Parses the HTML file at a path."""
    return lambda path: Page(Path(path).read_text())


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run with every table, reported with the default specification; tests only read it."""
    run_dir = build_run(tmp_path_factory.mktemp("default") / "run")
    build_report(run_dir, ReportSpec())
    return run_dir


@pytest.fixture(scope="session")
def write_run() -> MakeRun:
    """`build_run`, for fixtures that choose the place themselves."""
    return build_run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Builds a run directory; see `build_run`."""
    return lambda name="run", **options: build_run(tmp_path / name, **options)


def build_run(
    path: Path,
    *,
    ids: list[str] | None = None,
    num_picks: int = 32,
    summary: dict | None = None,
    absent: tuple[str, ...] = (),
    clip_shape: tuple[int, int] = (8, 64),
    uri_prefix: str = "corpus/",
    num_parts: int = 3,
) -> RunDir:
    """Writes every table but those in `absent`; `clip_shape` is (frames, pixels)."""
    ids = ids or [f"clip_{i:04d}" for i in range(120)]
    run_dir = RunDir(str(path))
    rng = np.random.default_rng(0)
    cluster_N = np.arange(len(ids)) % 6
    writers = {
        "manifest": lambda: _write(run_dir, "manifest", _manifest(ids, uri_prefix), 1),
        "clips": lambda: _write(run_dir, "clips", clips_table(ids, cluster_N, *clip_shape), num_parts),
        "rejects": lambda: _write(run_dir, "rejects", _rejects(), 1),
        "embeddings": lambda: _write(run_dir, "embeddings", _embeddings(ids, cluster_N, rng), num_parts),
        "metrics": lambda: _write(run_dir, "metrics", _metrics(), 1),
        "selection": lambda: _write(run_dir, "selection", _selection(ids, num_picks, uri_prefix), 1),
    }
    for folder, write in writers.items():
        if folder not in absent:
            write()
    for folder, receipt in RECEIPTS.items():
        if folder not in absent:
            run_dir.commit(folder, receipt)
    if "selection" not in absent:
        run_dir.commit("selection", {"wall_s": 4.5, "summary": SUMMARY if summary is None else summary})
    run_dir.write_bytes(b"seed: 0\nselect:\n  budget: 32\n  note: <b>bold</b>\n", "config.yaml")
    return run_dir


def _write(run_dir: RunDir, folder: str, table: pa.Table, num_parts: int) -> None:
    rows = -(-table.num_rows // num_parts)
    for part in range(num_parts):
        run_dir.write_part(folder, PART_NAME.format(part), table.slice(part * rows, rows), row_group_size=16)


def _manifest(ids: list[str], uri_prefix: str) -> pa.Table:
    rejected = [f"bad_{i}" for i in range(sum(REJECTED.values()))]
    everything = [*ids, *rejected]
    columns = {
        "sample_id": everything,
        "uri": [f"{uri_prefix}{i}.mp4" for i in everything],
        "source": ["folder"] * len(everything),
    }
    return conform(pa.table(columns), MANIFEST, name="manifest")


def clips_table(ids: list[str], cluster_N: np.ndarray, num_frames: int, size_px: int) -> pa.Table:
    """Clips of a disc that moves over a gradient, with a rising or falling tone: something to look at."""
    frames = [_frames(i, int(c), num_frames, size_px) for i, c in enumerate(cluster_N)]
    sounds = [_sound(i, int(c)) for i, c in enumerate(cluster_N)]
    schema = clip_schema(
        num_frames=num_frames,
        frame_size_px=size_px,
        num_audio_samples=SAMPLE_RATE_HZ * 2,
        sample_rate_hz=SAMPLE_RATE_HZ,
    )
    columns = [
        pa.array(ids),
        tensor_column(np.stack(frames)),
        tensor_column(np.stack(sounds)),
        pa.array(np.full(len(ids), 9.75)),
        *(
            pa.array(np.full(len(ids), v, dtype))
            for v, dtype in ((640, "i4"), (360, "i4"), (25.0, "f8"), (44100, "i4"))
        ),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _frames(index: int, cluster: int, num_frames: int, size_px: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    sky, ground, disc = rng.uniform(60, 220, 3), rng.uniform(20, 160, 3), np.eye(3)[cluster % 3] * 190 + 50
    frames = np.empty((num_frames, size_px, size_px, 3), dtype=np.uint8)
    for t in range(num_frames):
        phase = t / max(1, num_frames - 1)
        centre_x, centre_y = 0.2 + 0.6 * phase, 0.5 + 0.25 * np.sin(cluster + 5 * phase)
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < (0.08 + 0.02 * cluster) ** 2
        backdrop = sky * (1 - y[..., None]) + ground * y[..., None]
        frames[t] = np.where(inside[..., None], disc, backdrop) + rng.uniform(0, 12, (size_px, size_px, 3))
    return frames


def _sound(index: int, cluster: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    time_s = np.arange(SAMPLE_RATE_HZ * 2) / SAMPLE_RATE_HZ
    pitch_hz = 200 * (cluster + 1) * (1 + (0.8 if index % 2 else -0.3) * time_s / 2)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3, 5)) * (0.55 + 0.45 * np.sin(2 * np.pi * (1 + cluster) * time_s))
    return (tone * 6000 + rng.normal(0, 120, len(time_s))).astype(np.int16)


def _embeddings(ids: list[str], cluster_N: np.ndarray, rng: np.random.Generator) -> pa.Table:
    columns: list[pa.Array] = [pa.array(ids)]
    for width in (16, 12):
        centres_KD = rng.normal(size=(6, width))
        vectors_ND = centres_KD[cluster_N] + 0.35 * rng.normal(size=(len(ids), width))
        columns.append(vector_column(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)))
    return pa.Table.from_arrays(columns, schema=embedding_schema({"video": 16, "audio": 12}))


def _rejects() -> pa.Table:
    reasons = [reason for reason, count in REJECTED.items() for _ in range(count)]
    columns = {
        "sample_id": [f"bad_{i}" for i in range(len(reasons))],
        "uri": [f"corpus/bad_{i}.mp4" for i in range(len(reasons))],
        "stage": ["decode"] * len(reasons),
        "reason": reasons,
        "detail": [f"what happened to {i}" for i in range(len(reasons))],
    }
    return conform(pa.table(columns), REJECT, name="rejects")


def _metrics() -> pa.Table:
    rows: list[tuple[str, int | None, str, float]] = [
        ("pretrain", -1, "gap", 1.02),
        ("evaluate", None, "probe_accuracy", 0.625),
    ]
    for epoch in range(12):
        fade = float(np.exp(-epoch / 4))
        rows += [("pretrain", epoch, name, top * (0.3 + 0.7 * fade)) for name, top in LOSSES.items()]
        rows += [("pretrain", epoch, "gap", 0.11 + 0.6 * fade), ("pretrain", epoch, "mix", min(1.0, epoch / 6))]
    for epoch in range(-1, 12):
        for name, top in (("recall_at_1_video_to_audio", 0.62), ("recall_at_1_audio_to_video", 0.55)):
            rows.append(("pretrain", epoch, name, 0.01 + top * (1 - float(np.exp(-(epoch + 1) / 4)))))
    names = ("stage", "epoch", "name", "value")
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    return conform(pa.table(columns), METRIC, name="metrics")


def _selection(ids: list[str], num_picks: int, uri_prefix: str) -> pa.Table:
    picks = [ids[(i * 7) % len(ids)] for i in range(num_picks)]
    ranks = np.arange(num_picks)
    columns = {
        "rank": pa.array(ranks, pa.int32()),
        "sample_id": picks,
        "uri": [f"{uri_prefix}{i}.mp4" for i in picks],
        "gain": 1 / (1 + ranks),
        "coverage": 0.8 / (1 + ranks),
        "alignment": 0.95 - 0.2 * (ranks % 5) / 5,
        "redundancy": ranks / (1 + num_picks),
        "mass": np.maximum(1, 24 - ranks // 2).astype(float),
        "nearest_selected": [None, *picks[:-1]][:num_picks],
        "reason": [f"It stands for {max(1, 24 - r // 2)} clips, and its sound fits its picture well." for r in ranks],
        "round": pa.array(np.zeros(num_picks), pa.int32()),
        "runner_up": [ids[(i * 7 + 1) % len(ids)] if i % 2 else None for i in range(num_picks)],
        "cost": 1.5 + ranks,
    }
    return conform(pa.table(columns), SELECTION, name="selection").take(ranks[::-1])
