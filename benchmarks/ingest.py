"""Clips a second of the ingest stage, divided by those of a bare multiprocessing decord loop: same files, same cores.

The loop is what one would write in a notebook: it decodes the same frames and sound and throws them away. Ingest does
the same in child processes that may crash, and commits compressed clips, rejects and receipts on top. Both include the
start of their workers; a running Ray is a given. They run in turn, so that a drift of the machine meets both.
"""

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import decord
import numpy as np
import pyarrow as pa
import pyarrow.csv
import ray

from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, generate
from mmcsal.distributed.cluster.resources import capacity
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.stages.ingest import ingest_clips, scan_corpus
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.rundir import RunDir

TARGET = 0.85
NUM_FILES = 128
CORPUS = Path("runs/benchmark-corpus")


def main() -> None:
    args = arguments(__doc__)
    num_clips, num_rounds = (1024, 1) if args.quick else (3072, 3)
    files = _files()
    rates: dict[str, list[float]] = {"ingest": [], "loop": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(files[i % len(files)].absolute()) for i in range(num_clips)]
        config = _config(Path(folder), paths)
        with ray_session(config.cluster):
            num_cpus = capacity(config.cluster).num_cpus
            _warm_up_ray()
            for round_ in range(num_rounds):
                rates["loop"].append(num_clips / _loop_s(paths, config.media, num_cpus))
                rates["ingest"].append(num_clips / _ingest_s(config, Path(folder) / f"run-{round_}"))
                print(", ".join(f"{name} {values[-1]:.1f} clips/s" for name, values in rates.items()), flush=True)
    ratios = [a / b for a, b in zip(rates["ingest"], rates["loop"], strict=True)]
    ratio = statistics.median(ratios)
    figures = {"num_clips": num_clips, "num_cpus": num_cpus, "clips_per_s": rates, "ratios": ratios, "ratio": ratio}
    line = f"ingest / bare decord loop: {ratio:.2f} (target {TARGET}; rounds {', '.join(f'{r:.2f}' for r in ratios)})"
    finish("ingest", {"ratio": ratio >= TARGET}, figures, line, args)


def _files() -> list[Path]:
    spec = SyntheticSpec(path=str(CORPUS), num_clips=NUM_FILES, num_broken=0)
    return sorted((generate(spec) / "clips").iterdir())


def _config(folder: Path, paths: list[str]) -> RunConfig:
    """A manifest that names each file many times: decoding costs the same, rendering thousands would not."""
    manifest = folder / "manifest.csv"
    pa.csv.write_csv(pa.table({"sample_id": [f"{i:06d}" for i in range(len(paths))], "path": paths}), manifest)
    media = "media={window_s: 2.0, num_frames: 16, frame_size_px: 64}"
    return load_config(None, [f"corpus={manifest}", media])


def _ingest_s(config: RunConfig, root: Path) -> float:
    run_dir = RunDir(str(root))
    scan_corpus(config, run_dir, lambda *_: None)
    start_s = time.perf_counter()
    receipt = ingest_clips(config, run_dir, lambda *_: None)
    seconds = time.perf_counter() - start_s
    assert receipt["num_rejects"] == 0, receipt
    return seconds


def _loop_s(paths: list[str], media: MediaSpec, num_cpus: int) -> float:
    start_s = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(num_cpus) as pool:
        shapes = set(pool.imap_unordered(_decode, ((path, media) for path in paths), chunksize=8))
    assert len(shapes) == 1, shapes
    return time.perf_counter() - start_s


def _decode(job: tuple[str, MediaSpec]) -> tuple[int, ...]:
    path, media = job
    size = media.frame_size_px
    reader = decord.VideoReader(path, ctx=decord.cpu(0), width=size, height=size, num_threads=1)
    indices = np.linspace(0, len(reader) - 1, media.num_frames).round().astype(int)
    frames = reader.get_batch(indices).asnumpy()
    sound = decord.AudioReader(path, ctx=decord.cpu(0), sample_rate=media.sample_rate_hz, mono=True)[:].asnumpy()
    return (*frames.shape, sound.dtype.itemsize)


def _warm_up_ray() -> None:
    """The first dataset of a session costs seconds whatever it does."""
    ray.data.range(2).materialize()


if __name__ == "__main__":
    main()
