"""What training buys, and what the prototypes do to the modality gap, on rendered clips of known classes.

Compares the untrained encoders, InfoNCE alone (temperature .07, learned), the paper's preset (InfoNCE and uni-modal
prototypes) and the default preset: same clips, same seeds, torch only. Probes learn on half of the held-out clips and
are tested on the other half; nothing that is trained here sees a label or a held-out clip.

The targets are those of the design: the default's gap at most 40% of InfoNCE's with a joint kNN no more than a point
below it; linear probe >= .93, class R@1 >= .85, gap <= .20.
"""

import os
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.datasets.synthetic import read_truth
from mmcsal.distributed.ingest import scan_corpus
from mmcsal.distributed.ingest_worker import IngestWorker
from mmcsal.distributed.partitions import pending_parts
from mmcsal.metrics import modality_gap
from mmcsal.rundir import RunDir
from mmcsal.training.calibrate import calibrate_norms
from mmcsal.training.data import ClipBatch, ClipBatches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.evaluate import embed_batches, embedding_metrics, labeled_metrics
from mmcsal.training.state import TrainState

FOLDER = Path("runs/benchmark-mmssl")
MEDIA = "media={window_s: 2.0, num_frames: 16, frame_size_px: 64}"
OBJECTIVES = {
    "InfoNCE alone": "pretrain.objective={preset: paper, lambda_proto: 0}",
    "paper (InfoNCE + prototypes)": "pretrain.objective={preset: paper}",
    "default": "pretrain.objective={preset: default}",
}
COLUMNS = {
    "raw gap": "raw_gap",
    "gap": "gap",
    "mix": "mix",
    "linear": "linear_joint",
    "kNN": "knn_joint",
    "class R@1": "class_recall_at_1_video_to_audio",
    "R@1": "recall_at_1_video_to_audio",
}
PAIRS_FOR_RETRIEVAL = 256  # chance of R@1 is 1 in so many


@dataclass(frozen=True)
class Job:
    """One training run."""

    name: str
    seed: int
    epochs: int
    train: str  # run directories
    test: str


def main() -> None:
    args = arguments(__doc__)
    num_train, num_test, num_seeds, epochs = (256, 128, 1, 2) if args.quick else (2048, 1024, 3, 20)
    train, test = _ingested("train", num_train, corpus_seed=1), _ingested("test", num_test, corpus_seed=2)
    jobs = [Job(name, seed, epochs, train, test) for seed in range(num_seeds) for name in OBJECTIVES]
    rows: dict[str, list[dict[str, float]]] = {"untrained": [], **{name: [] for name in OBJECTIVES}}
    with get_context("spawn").Pool(os.cpu_count()) as pool:  # each run has one thread, whatever the machine
        for job, before, after, seconds in pool.imap_unordered(_train, jobs):
            rows[job.name].append(after)
            if job.name == "default":
                rows["untrained"].append(before)
            print(f"{job.name}, seed {job.seed}: {seconds:.0f} s of training", flush=True)
    means = {name: {key: float(np.mean([m[key] for m in found])) for key in found[0]} for name, found in rows.items()}
    _print_table(means)
    kept = means["default"]["gap"] / means["InfoNCE alone"]["gap"]
    added = means["paper (InfoNCE + prototypes)"]["raw_gap"] / means["InfoNCE alone"]["raw_gap"]
    line = f"gap of the default / of InfoNCE: {kept:.2f} (target 0.40); prototypes added to InfoNCE, raw: {added:.2f}"
    figures = {"num_train": num_train, "num_seeds": num_seeds, "epochs": epochs, "means": means, "runs": rows}
    finish("mmssl", {} if args.quick else _checks(means), figures, line, args)


def _train(job: Job) -> tuple[Job, dict[str, float], dict[str, float], float]:
    """What the encoders of one run are worth before and after training, and how long it took."""
    config = load_config(None, [MEDIA, OBJECTIVES[job.name], f"pretrain.epochs={job.epochs}"])
    state, batches = _fresh(config, RunDir(job.train), job.seed)
    test = HeldOut(RunDir(job.test), state)
    before = _measure(state, batches, test)
    start_s = time.perf_counter()
    while not state.done:
        train_epoch(state, batches)
    return job, before, _measure(state, batches, test), time.perf_counter() - start_s


def _checks(means: dict[str, dict[str, float]]) -> dict[str, bool]:
    default, nce, untrained = means["default"], means["InfoNCE alone"], means["untrained"]
    return {
        "gap of the default at most 40% of InfoNCE's": default["gap"] <= 0.4 * nce["gap"],
        "joint kNN of the default no more than a point below InfoNCE's": default["knn_joint"]
        >= nce["knn_joint"] - 0.01,
        "linear probe of the default >= .93": default["linear_joint"] >= 0.93,
        "class R@1 of the default >= .85": default["class_recall_at_1_video_to_audio"] >= 0.85,
        "gap of the default <= .20": default["gap"] <= 0.20,
        "R@1 of the default at least 5 times the untrained one's": default["recall_at_1_video_to_audio"]
        >= 5 * untrained["recall_at_1_video_to_audio"],
    }


def _print_table(means: dict[str, dict[str, float]]) -> None:
    print(f"{'':30}" + "".join(f"{title:>11}" for title in COLUMNS))
    for name, figures in means.items():
        print(f"{name:30}" + "".join(f"{figures[key]:11.3f}" for key in COLUMNS.values()))


def _ingested(part: str, num_clips: int, *, corpus_seed: int) -> str:
    """Aligned clips, decoded once; a run directory that is there is used again."""
    name = f"{part}-{num_clips}"
    corpus = f"kind: synthetic, path: {FOLDER}/corpus-{name}, num_clips: {num_clips}, seed: {corpus_seed}"
    aligned = "misaligned_fraction: 0, near_duplicate_fraction: 0, num_broken: 0"
    config = load_config(None, [MEDIA, f"corpus={{{corpus}, {aligned}}}"])
    run_dir = RunDir(str(FOLDER / name))
    if not run_dir.exists("manifest"):
        scan_corpus(config, run_dir, lambda *_: None)
    pending = pending_parts(run_dir, "clips")
    if pending:
        IngestWorker(run_dir, config.media)({"part": pending})
    return run_dir.root


def _fresh(config: RunConfig, run_dir: RunDir, seed: int) -> tuple[TrainState, ClipBatches]:
    torch.set_num_threads(config.pretrain.threads_per_worker)
    gray = not config.model.video.needs_color
    batches = ClipBatches(run_dir.part_paths("clips"), run_dir.filesystem, config.pretrain, seed=seed, gray=gray)
    return TrainState(config.pretrain, config.model, seed=seed, steps_per_epoch=batches.steps_per_epoch), batches


class HeldOut:
    """Clips that no training sees, and their classes; read once."""

    def __init__(self, run_dir: RunDir, state: TrainState) -> None:
        clips = ClipBatches(run_dir.part_paths("clips"), run_dir.filesystem, state.spec, seed=0)
        self.chunks = list(clips.lowest_hash(clips.num_clips))
        self.labels_N = _labels(run_dir, self.chunks)


def _measure(state: TrainState, batches: ClipBatches, test: HeldOut) -> dict[str, float]:
    """Held-out figures with calibrated norms, as the pretrain stage leaves them; `raw_gap` is before calibration."""
    raw_gap = modality_gap(*embed_batches(state.model, test.chunks)).item()
    calibrate_norms(state.model, batches.lowest_hash(state.spec.eval_samples))
    z_video_ND, z_audio_ND = embed_batches(state.model, test.chunks)
    is_test_N = torch.arange(len(test.labels_N)) % 2 == 1
    few = slice(0, PAIRS_FOR_RETRIEVAL)
    return {
        **embedding_metrics(z_video_ND, z_audio_ND),
        **labeled_metrics(z_video_ND, z_audio_ND, test.labels_N, is_test_N),
        **{k: v for k, v in embedding_metrics(z_video_ND[few], z_audio_ND[few]).items() if "recall" in k},
        "raw_gap": raw_gap,
    }


def _labels(run_dir: RunDir, chunks: list[ClipBatch]) -> Tensor:
    truth = read_truth(FOLDER / f"corpus-{Path(run_dir.root).name}").to_pylist()
    class_of = {row["sample_id"]: row["class_id"] for row in truth}
    return torch.tensor([class_of[sample_id] for chunk in chunks for sample_id in chunk.sample_ids])


if __name__ == "__main__":
    main()
