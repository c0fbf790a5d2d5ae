"""What training buys, and what closes the modality gap: prototypes, temperature, the centroid term, a shift afterwards.

Two corpora of known classes. "rendered": clips whose two modalities share class, tempo and phase. "digits x sound":
scanned digits with made-up words, which share the class alone. On each, the untrained encoders, InfoNCE alone
(temperature .07, learned) and each remedy by itself are compared with the default preset: same clips, same seeds,
torch only. Probes learn on half of the held-out clips and are tested on the other half; nothing that is trained here
sees a label or a held-out clip. Each figure is the mean over the seeds +- their standard deviation.

The targets are those of the design: on both corpora the default's gap at most 40% of InfoNCE's with a joint kNN no
more than a point below it; on rendered clips linear probe >= .93, class R@1 >= .85, gap <= .20.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import digits_sound
from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.datasets.synthetic.corpus import read_truth
from mmcsal.distributed.stages.ingest import scan_corpus
from mmcsal.distributed.workers.ingest import IngestWorker
from mmcsal.distributed.workers.map_partitions import pending_parts
from mmcsal.distributed.workers.trainer import clip_batches
from mmcsal.metrics import modality_gap
from mmcsal.models.two_tower import MODALITIES
from mmcsal.storage.rundir import RunDir
from mmcsal.training.calibrate import calibrate_norms
from mmcsal.training.data import ClipBatches
from mmcsal.training.embed import close_gap, encode_batches, project_features
from mmcsal.training.epoch import train_epoch
from mmcsal.training.evaluate import embedding_metrics, labeled_metrics, measure_centroids
from mmcsal.training.state import TrainState

FOLDER = Path("runs/benchmark-mmssl")
RENDERED, DIGITS = "rendered", "digits x sound"
MEDIA = "media={window_s: 2.0, num_frames: 16, frame_size_px: 64}"
OVERRIDES = {RENDERED: [MEDIA], DIGITS: ["pretrain.augment.flip=false"]}  # a mirrored digit is another sign, or none

UNTRAINED, NCE, PAPER, PCL, DEFAULT = "untrained", "InfoNCE alone", "+ SwAV 1 (preset paper)", "+ PCL 1", "default"
OBJECTIVES = {
    NCE: "{preset: paper, lambda_proto: 0}",
    PAPER: "{preset: paper}",
    PCL: "{preset: paper, proto: {kind: pcl}}",
    "+ centroid term 1": "{preset: paper, lambda_proto: 0, lambda_centroid: 1}",
    "temperature .2 alone": "{preset: default, lambda_proto: 0, lambda_centroid: 0}",
    DEFAULT: "{preset: default}",
}
QUICK_ROWS = (NCE, PAPER, DEFAULT)
LEFT_OUT = {(RENDERED, PCL)}  # an eighth of the time of the whole, for a row that the digits have
COLUMNS = {
    "raw gap": "raw_gap",
    "gap": "gap",
    "gap shifted": "shifted_gap",
    "mix": "mix",
    "linear": "linear_joint",
    "kNN": "knn_joint",
    "NMI": "nmi_joint",
    "class R@1": "class_recall_at_1_video_to_audio",
    "R@1": "recall_at_1_video_to_audio",
}
PAIRS_FOR_RETRIEVAL = 256  # chance of R@1 is 1 in so many

Figures = dict[str, float]
Table = dict[str, Figures]  # row -> figures


@dataclass(frozen=True)
class Size:
    """How many clips, and how often training sees them."""

    num_train: int
    num_test: int
    epochs: int


SIZES = {RENDERED: Size(2048, 1024, 20), DIGITS: Size(1200, 597, 12)}
QUICK_SIZES = {RENDERED: Size(128, 64, 2), DIGITS: Size(128, 64, 2)}


@dataclass(frozen=True)
class Job:
    """One training run."""

    corpus: str
    train: str  # run directories
    test: str
    epochs: int
    row: str
    seed: int


def main() -> None:
    args = arguments(__doc__)
    sizes, rows, num_seeds = (QUICK_SIZES, QUICK_ROWS, 1) if args.quick else (SIZES, tuple(OBJECTIVES), 3)
    jobs: list[Job] = []  # the longer runs first: at the end no core waits long
    for corpus, make in ((RENDERED, _rendered), (DIGITS, _digits)):
        train, test = make(sizes[corpus].num_train, sizes[corpus].num_test)
        epochs = sizes[corpus].epochs
        wanted = [row for row in rows if (corpus, row) not in LEFT_OUT]
        jobs += [Job(corpus, train, test, epochs, row, seed) for seed in range(num_seeds) for row in wanted]
    runs = _run_all(jobs)
    means = {corpus: _over_seeds(np.mean, rows) for corpus, rows in runs.items()}
    deviations = {corpus: _over_seeds(partial(np.std, ddof=1), rows) for corpus, rows in runs.items() if num_seeds > 1}
    for corpus, table in means.items():
        _print_table(corpus, table, deviations.get(corpus, {}))
    sizes_told = {corpus: asdict(size) for corpus, size in sizes.items()}
    figures = {"num_seeds": num_seeds, "sizes": sizes_told, "means": means, "deviations": deviations, "runs": runs}
    finish("mmssl", {} if args.quick else _checks(means), figures, _last_line(means), args)


def _run_all(jobs: list[Job]) -> dict[str, dict[str, list[Figures]]]:
    """Corpus -> row -> the figures of each run in the order of the seeds; the untrained encoders first."""
    runs: dict[str, dict[str, list[Figures]]] = {job.corpus: {UNTRAINED: []} for job in jobs}
    for job in jobs:
        runs[job.corpus].setdefault(job.row, [])
    with get_context("spawn").Pool(os.cpu_count()) as pool:  # each run has one thread, whatever the machine
        for job, found, seconds in pool.imap(_run, jobs):
            for row, figures in found.items():
                runs[job.corpus][row].append(figures)
            print(f"{job.corpus}, {job.row}, seed {job.seed}: {seconds:.0f} s", flush=True)
    return runs


def _run(job: Job) -> tuple[Job, Table, float]:
    """What the encoders of one run are worth, with the default also before training, and the seconds it all took."""
    start_s = time.perf_counter()
    overrides = [f"pretrain.objective={OBJECTIVES[job.row]}", f"pretrain.epochs={job.epochs}", f"seed={job.seed}"]
    config = load_config(None, [*OVERRIDES[job.corpus], *overrides])
    torch.set_num_threads(config.pretrain.threads_per_worker)
    found: Table = {}
    with threadpool_limits(config.pretrain.threads_per_worker):
        batches = clip_batches(config, RunDir(job.train))
        state = TrainState(config.pretrain, config.model, seed=config.seed, steps_per_epoch=batches.steps_per_epoch)
        test = HeldOut(config, RunDir(job.test), job.corpus)
        if job.row == DEFAULT:
            found[UNTRAINED] = _measure(state, batches, test)
        while not state.done:
            train_epoch(state, batches)
        found[job.row] = _measure(state, batches, test)
    return job, found, time.perf_counter() - start_s


class HeldOut:
    """Clips that no training sees, and their classes; read once."""

    def __init__(self, config: RunConfig, run_dir: RunDir, corpus: str) -> None:
        clips = clip_batches(config, run_dir)
        self.chunks = list(clips.fixed_sample(clips.num_clips))
        ids = [sample_id for chunk in self.chunks for sample_id in chunk.sample_ids]
        classes = digits_sound.classes_of(ids) if corpus == DIGITS else _rendered_classes(run_dir, ids)
        self.labels_N = torch.as_tensor(classes)


def _measure(state: TrainState, batches: ClipBatches, test: HeldOut) -> Figures:
    """Held-out figures with calibrated norms, as the pretrain stage leaves them; `raw_gap` is before calibration."""
    features = encode_batches(state.encoders, test.chunks)
    raw_gap = modality_gap(*project_features(state.encoders, features)).item()
    calibrate_norms(state.encoders, encode_batches(state.encoders, batches.fixed_sample(state.spec.eval_samples)))
    z_video_ND, z_audio_ND = z = project_features(state.encoders, features)
    measure_centroids(state, batches)
    shifted = [close_gap(z_ND, m, state.centroids) for m, z_ND in zip(MODALITIES, z, strict=True)]
    is_test_N = torch.arange(len(test.labels_N)) % 2 == 1
    few = slice(0, PAIRS_FOR_RETRIEVAL)
    return {
        **embedding_metrics(z_video_ND, z_audio_ND),
        **labeled_metrics(z_video_ND, z_audio_ND, test.labels_N, is_test_N),
        **{k: v for k, v in embedding_metrics(z_video_ND[few], z_audio_ND[few]).items() if "recall" in k},
        "raw_gap": raw_gap,
        "shifted_gap": modality_gap(*shifted).item(),
    }


# ---- corpora ---------------------------------------------------------------------------------------------------------


def _rendered(num_train: int, num_test: int) -> tuple[str, str]:
    """Run directories with the clips to train on and those to test on."""
    return _ingested(f"train-{num_train}", num_train, seed=1), _ingested(f"test-{num_test}", num_test, seed=2)


def _ingested(name: str, num_clips: int, *, seed: int) -> str:
    """Aligned clips, decoded once; a run directory that is there is used again."""
    corpus = f"kind: synthetic, path: {FOLDER}/corpus-{name}, num_clips: {num_clips}, seed: {seed}"
    aligned = "misaligned_fraction: 0, near_duplicate_fraction: 0, num_broken: 0"
    config = load_config(None, [MEDIA, f"corpus={{{corpus}, {aligned}}}"])
    run_dir = RunDir(str(FOLDER / name))
    if not run_dir.exists("manifest"):
        scan_corpus(config, run_dir, lambda *_: None)
    worker = IngestWorker(run_dir, config.media)
    for part in pending_parts(run_dir, "clips"):
        worker.run(part)
    return run_dir.root


def _rendered_classes(run_dir: RunDir, sample_ids: list[str]) -> list[int]:
    truth = read_truth(FOLDER / f"corpus-{Path(run_dir.root).name}").to_pylist()
    class_of = {row["sample_id"]: row["class_id"] for row in truth}
    return [class_of[sample_id] for sample_id in sample_ids]


def _digits(num_train: int, num_test: int) -> tuple[str, str]:
    """As `_rendered`; made anew each time, which takes seconds."""
    run_dirs = [RunDir(str(FOLDER / f"digits-{part}")) for part in ("train", "test")]
    for run_dir, scans in zip(run_dirs, digits_sound.split(num_train, num_test), strict=True):
        digits_sound.write_clips(run_dir, scans)
    return run_dirs[0].root, run_dirs[1].root


# ---- the table -------------------------------------------------------------------------------------------------------


def _over_seeds(statistic: Callable[[list[float]], np.floating], rows: dict[str, list[Figures]]) -> Table:
    return {row: {key: float(statistic([f[key] for f in found])) for key in found[0]} for row, found in rows.items()}


def _print_table(corpus: str, means: Table, deviations: Table) -> None:
    print(f"\n{corpus:24}" + "".join(f"{title:>12}" for title in COLUMNS))
    for row, figures in means.items():
        cells = (_cell(figures[key], deviations.get(row, {}).get(key)) for key in COLUMNS.values())
        print(f"{row:24}" + "".join(f"{cell:>12}" for cell in cells))


def _cell(mean: float, deviation: float | None) -> str:
    figures = [mean] if deviation is None else [mean, deviation]
    return "±".join(f"{figure:.3f}".removeprefix("0") for figure in figures)


def _checks(means: dict[str, Table]) -> dict[str, bool]:
    default, untrained = means[RENDERED][DEFAULT], means[RENDERED][UNTRAINED]
    return dict(_against_nce(means)) | {
        "rendered: linear probe of the default >= .93": default["linear_joint"] >= 0.93,
        "rendered: class R@1 of the default >= .85": default["class_recall_at_1_video_to_audio"] >= 0.85,
        "rendered: gap of the default <= .20": default["gap"] <= 0.20,
        "rendered: R@1 of the default at least 5 times the untrained one's": default["recall_at_1_video_to_audio"]
        >= 5 * untrained["recall_at_1_video_to_audio"],
    }


def _against_nce(means: dict[str, Table]) -> Iterator[tuple[str, bool]]:
    for corpus, table in means.items():
        default, nce = table[DEFAULT], table[NCE]
        yield f"{corpus}: gap of the default at most 40% of InfoNCE's", default["gap"] <= 0.4 * nce["gap"]
        is_close = default["knn_joint"] >= nce["knn_joint"] - 0.01
        yield f"{corpus}: joint kNN of the default no more than a point below InfoNCE's", is_close


def _last_line(means: dict[str, Table]) -> str:
    """What the default and what prototypes alone do, against InfoNCE, on each corpus."""
    nce, paper, default = ({c: table[row] for c, table in means.items()} for row in (NCE, PAPER, DEFAULT))
    kept = ", ".join(f"{default[c]['gap'] / nce[c]['gap']:.2f} {c}" for c in means)
    points = ", ".join(f"{100 * (default[c]['knn_joint'] - nce[c]['knn_joint']):+.1f} {c}" for c in means)
    prototypes = ", ".join(f"{paper[c]['gap'] / nce[c]['gap']:.2f} {c}" for c in means)
    return (
        f"default against InfoNCE: gap {kept} (target 0.40 at most); joint kNN {points} points (target -1.0 at least); "
        f"with prototypes alone the gap is {prototypes}"
    )


if __name__ == "__main__":
    main()
