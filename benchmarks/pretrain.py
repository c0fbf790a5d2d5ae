"""What Ray Train costs: steps per second of the pretrain stage against a plain PyTorch loop, in the same run.

Same model, objective, augmentation, batch and thread count, on cached clips, with one worker and with two. The plain
loop holds all clips in memory as one tensor and does nothing but train; the stage reads its clips from Parquet in its
own order, keeps figures and is supervised by Ray. Both are timed from their second epoch on, in rounds that take turns.
"""

import os
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from benchmarks.clips import clip_table
from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.stages.pretrain import pretrain_encoders
from mmcsal.distributed.workers.pretrain import epoch_parts
from mmcsal.distributed.workers.trainer import clip_batches
from mmcsal.losses import MmsslObjective
from mmcsal.models import build_model
from mmcsal.models.two_tower import MODALITIES
from mmcsal.storage.rundir import PART_NAME, RunDir
from mmcsal.training.augment import random_views
from mmcsal.training.module import Mmssl

FRAMES, FRAME_SIZE_PX, AUDIO_SAMPLES = 16, 64, 32_000
CLIPS_PER_PART = 64
TARGET_RATIO, MAX_WAIT_SHARE = 0.90, 0.05


def main() -> None:
    args = arguments(__doc__)
    num_clips, epochs, num_rounds, worker_counts = (256, 2, 1, (1,)) if args.quick else (512, 4, 2, (1, 2))
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        clips = _write_clips(RunDir(f"{folder}/clips"), num_clips)
        for number in range(num_rounds):
            for num_workers in worker_counts:
                config = load_config(None, [f"pretrain={{epochs: {epochs}, num_workers: {num_workers}}}"])
                plain = _plain_steps_per_s(config, clips)
                stage, wait = _stage_figures(config, clips, RunDir(f"{folder}/run-{number}-{num_workers}"))
                rounds.append({"num_workers": num_workers, "plain": plain, "stage": stage, "data_wait_share": wait})
                print(
                    f"{num_workers} workers: plain {plain:.2f} steps/s, stage {stage:.2f}, waits {wait:.1%}", flush=True
                )
    ratio = {
        n: float(np.median([r["stage"] / r["plain"] for r in rounds if r["num_workers"] == n])) for n in worker_counts
    }
    wait = max(r["data_wait_share"] for r in rounds)
    checks = {
        f"step rate at one worker at least {TARGET_RATIO} of the plain loop's": ratio[1] >= TARGET_RATIO,
        f"at most {MAX_WAIT_SHARE:.0%} of the time waiting for data": wait <= MAX_WAIT_SHARE,
    }
    told = ", ".join(f"{value:.2f} with {n} worker{'s' if n > 1 else ''}" for n, value in ratio.items())
    line = f"step rate of the stage / of a plain loop: {told} (target {TARGET_RATIO} with 1); data wait {wait:.1%}"
    figures = {"num_clips": num_clips, "epochs": epochs, "ratio": ratio, "data_wait_share": wait, "rounds": rounds}
    finish("pretrain", {} if args.quick else checks, figures, line, args)


def _write_clips(run_dir: RunDir, num_clips: int) -> RunDir:
    """A CLIP table of noise: how long a step takes does not depend on what is seen."""
    rng = np.random.default_rng(0)
    frames = (CLIPS_PER_PART, FRAMES, FRAME_SIZE_PX, FRAME_SIZE_PX, 3)
    for part, first in enumerate(range(0, num_clips, CLIPS_PER_PART)):
        ids = [f"clip-{i:05d}" for i in range(first, first + CLIPS_PER_PART)]
        video = rng.integers(0, 256, frames, dtype=np.uint8)
        audio = rng.integers(-9999, 9999, (CLIPS_PER_PART, AUDIO_SAMPLES), dtype=np.int16)
        table = clip_table(ids, video, audio, duration_s=2.0, sample_rate_hz=16_000)
        run_dir.write_part("clips", PART_NAME.format(part), table)
    return run_dir


def _stage_figures(config: RunConfig, clips: RunDir, run_dir: RunDir) -> tuple[float, float]:
    """Steps per second and share of the time spent waiting for batches, of the stage itself, on a Ray of its own."""
    Path(run_dir.root).mkdir()
    os.symlink(clips.path("clips"), run_dir.path("clips"))
    with ray_session(config.cluster):
        pretrain_encoders(config, run_dir, lambda *_: None)
    epochs = [run_dir.read_part("metrics", part).to_pylist() for part in epoch_parts(run_dir)]
    found = [{row["name"]: row["value"] for row in rows} for rows in epochs[2:]]  # after "untrained" and the first
    return float(np.mean([f["steps_per_s"] for f in found])), float(np.mean([f["data_wait_share"] for f in found]))


def _plain_steps_per_s(config: RunConfig, clips: RunDir) -> float:
    """The same steps in processes of their own, as a textbook would write them."""
    context, num_workers = get_context("spawn"), config.pretrain.num_workers
    with tempfile.TemporaryDirectory() as folder:
        rates = context.Queue()
        processes = [
            context.Process(target=_plain_loop, args=(config, clips, rank, f"{folder}/store", rates))
            for rank in range(num_workers)
        ]
        for process in processes:
            process.start()
        found = [rates.get(timeout=600) for _ in processes]
        for process in processes:
            process.join()
    return float(np.mean(found))


def _plain_loop(config: RunConfig, clips: RunDir, rank: int, store: str, rates: "Queue[float]") -> None:
    spec = config.pretrain
    torch.set_num_threads(spec.threads_per_worker)
    if spec.num_workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=spec.num_workers)
    batches = clip_batches(config, clips)
    (everything,) = batches.fixed_sample(batches.num_clips, chunk=batches.num_clips)
    module = Mmssl(
        build_model(config.model, seed=0),
        MmsslObjective(spec.objective, MODALITIES, config.model.head.embedding_width),
    ).train()
    forward = DistributedDataParallel(module) if spec.num_workers > 1 else module
    optimizer = AdamW(module.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
    share = spec.batch_size // spec.num_workers
    rows = slice(rank * share, (rank + 1) * share)
    where = {"seed": 0, "rows": rows, "global_batch_size": spec.batch_size}
    begun_s = time.perf_counter()
    for epoch in range(spec.epochs):
        if epoch == 1:
            begun_s = time.perf_counter()
        order = torch.randperm(batches.num_clips, generator=torch.Generator().manual_seed(epoch))
        for step in range(batches.steps_per_epoch):
            chosen = order[step * spec.batch_size : (step + 1) * spec.batch_size][rows]
            video, audio = everything.video_BTHWC[chosen], everything.audio_BL[chosen]
            loss, _ = forward(*random_views(video, audio, spec.augment, epoch=epoch, step=step, **where))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), spec.gradient_clip_norm)
            optimizer.step()
    rates.put((spec.epochs - 1) * batches.steps_per_epoch / (time.perf_counter() - begun_s))
    if spec.num_workers > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
