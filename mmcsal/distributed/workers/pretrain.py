"""One worker of Ray Train, from its checkpoint to the last epoch. What it computes is in `mmcsal.training`."""

import io
import time
from typing import Any

import pyarrow.compute as pc
import ray.train
import torch
from ray.train.torch import get_device
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmcsal.config import RunConfig
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.distributed.cluster.telemetry import DATA_WAIT_RATIO, record
from mmcsal.distributed.workers.trainer import (
    ENCODERS_FILE,
    clip_batches,
    count_step,
    mean_over_workers,
    metric_table,
    report,
    restored,
    serialized,
)
from mmcsal.storage.rundir import RunDir
from mmcsal.tensors.collectives import broadcast
from mmcsal.training.calibrate import calibrate_norms, share_norms
from mmcsal.training.data import ClipBatch, ClipBatches
from mmcsal.training.embed import encode_batches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.evaluate import evaluate, measure_centroids
from mmcsal.training.evidence.table import evidence_by_file
from mmcsal.training.state import TrainState

BEST_FILE = "best-{:05d}.pt"  # below checkpoints/: the encoders of the best epoch so far
PART_PREFIX = "pretrain-"
COMPARED = ("gap", "mix", "alignment", "recall_at_1_video_to_audio")  # of the encoders as trained and as shifted


def epoch_parts(run_dir: RunDir) -> list[str]:
    """The parts of the METRIC table that hold an epoch of this stage, in their order."""
    return [part for part in run_dir.parts("metrics") if part.startswith(PART_PREFIX)]


def train_loop(loop: dict[str, Any]) -> None:
    """Trains and measures; every worker runs it with the same arguments."""
    config, run_dir = loop["config"], loop["run_dir"]
    torch.set_num_threads(config.pretrain.threads_per_worker)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    batches = clip_batches(config, run_dir)
    state = TrainState(
        config.pretrain,
        config.model,
        seed=config.seed,
        steps_per_epoch=batches.steps_per_epoch,
        num_clips=batches.num_clips,
        device=str(get_device()),
    )
    checkpoint = restored()
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    measure = Measure(run_dir, batches, config) if rank == 0 else None
    if checkpoint is None and measure is not None:
        _write_metrics(run_dir, -1, measure(state))
    forward = _wrapped(state) if num_workers > 1 else None
    while not state.done:
        figures = train_epoch(state, batches, rank=rank, num_workers=num_workers, forward=forward, on_step=_after_step)
        figures = {_loss_name(name): value for name, value in mean_over_workers(figures, num_workers).items()}
        if measure is not None:
            record(DATA_WAIT_RATIO, figures["data_wait_share"])
            begun_s = time.perf_counter()
            figures |= measure(state)
            figures |= {"measure_s": time.perf_counter() - begun_s, "num_workers": num_workers}
            _write_metrics(run_dir, state.epoch - 1, figures)
        _share_verdict(state, figures)
        if rank == 0 and _keeps_best(state) and state.best.epoch == state.epoch - 1:
            _keep_best(state, run_dir)
        report(state.state_dict, figures, f"epoch-{state.epoch:05d}")
    if rank == 0:
        _export(state, batches, run_dir)


class Measure:
    """The figures of an epoch, on fixed clips that are read once; heads are calibrated on the way."""

    def __init__(self, run_dir: RunDir, batches: ClipBatches, config: RunConfig) -> None:
        self._clips = list(batches.fixed_sample(config.pretrain.eval_samples))
        self._labels_N = _labels_of(run_dir, self._clips)

    def __call__(self, state: TrainState) -> dict[str, float]:
        features = encode_batches(state.encoders, self._clips)
        if state.epoch > 0:  # before training, the statistics are as drawn
            calibrate_norms(state.encoders, features)
        return evaluate(state, features, self._labels_N)


def _labels_of(run_dir: RunDir, clips: list[ClipBatch]) -> Tensor:
    """Integer classes in the order of the clips, int64 [N]; -1 where the manifest has none."""
    ids = [sample_id for batch in clips for sample_id in batch.sample_ids]
    labeled = pc.field("sample_id").isin(ids) & pc.field("label").is_valid()
    rows = run_dir.dataset("manifest", MANIFEST).to_table(columns=["sample_id", "label"], filter=labeled).to_pylist()
    label_of = {row["sample_id"]: row["label"] for row in rows}
    number_of = {label: number for number, label in enumerate(sorted(set(label_of.values())))}
    return torch.tensor([number_of[label_of[i]] if i in label_of else -1 for i in ids])


def _wrapped(state: TrainState) -> DistributedDataParallel:
    # Buffers are the same on all workers by what they are made of: queues are gathered, norms are shared.
    return DistributedDataParallel(state.module, broadcast_buffers=False, gradient_as_bucket_view=True)


def _share_verdict(state: TrainState, figures: dict[str, float]) -> None:
    """The first worker has measured: its norms and its verdict on the epoch become those of all."""
    share_norms(state.encoders)
    criterion = state.spec.best.criterion
    value = torch.tensor(figures.get(criterion, 0.0), dtype=torch.float64, device=get_device())
    state.best = state.best.after(state.epoch - 1, {criterion: broadcast(value).item()}, state.spec.best)


def _after_step(state: TrainState, figures: dict[str, float]) -> None:
    count_step(figures)
    _checkpoint_when_due(state, figures)


def _checkpoint_when_due(state: TrainState, figures: dict[str, float]) -> None:
    """A checkpoint in the middle of an epoch; at its end there is one anyway."""
    every = state.spec.checkpoint_every_steps
    if every is not None and state.step_in_epoch and state.step_in_epoch % every == 0:
        report(state.state_dict, figures, f"epoch-{state.epoch:05d}-step-{state.step_in_epoch:07d}")


def _keeps_best(state: TrainState) -> bool:
    """Whether the encoders of the best epoch are wanted, and there is one."""
    return state.spec.best.keep == "best" and state.best.epoch >= 0


def _keep_best(state: TrainState, run_dir: RunDir) -> None:
    """Writes the encoders of the best epoch; those of the best before it stay, for a resume from before this epoch."""
    current = BEST_FILE.format(state.best.epoch)
    before = [name for name in run_dir.names("checkpoints") if name.startswith("best-") and name < current]
    run_dir.write_bytes(serialized(state.encoders_dict()), "checkpoints", current)
    for name in before[:-1]:
        run_dir.delete_file("checkpoints", name)


def _export(state: TrainState, batches: ClipBatches, run_dir: RunDir) -> None:
    """The encoders of the best or of the last epoch, with their centroids, and the evidence, for the later stages."""
    kept_epoch = state.epoch - 1
    if _keeps_best(state):
        kept_epoch = state.best.epoch
        best = io.BytesIO(run_dir.read_bytes("checkpoints", BEST_FILE.format(state.best.epoch)))
        state.encoders.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["model"])
    assert state.dynamics is not None
    for path, evidence in evidence_by_file(batches.ids_by_file, batches.partner_id_of, state.dynamics):
        run_dir.write_part("evidence", path.rsplit("/", 1)[1], evidence)
    compared = measure_centroids(state, batches)
    figures = {f"{name}_{how}": found[name] for how, found in compared.items() for name in COMPARED}
    figures["kept_epoch"] = kept_epoch
    _write_metrics(run_dir, None, figures)
    run_dir.write_bytes(serialized(state.encoders_dict()), "checkpoints", ENCODERS_FILE)


def _loss_name(name: str) -> str:
    """`cross` -> `loss_cross`: the report draws what begins with `loss`."""
    return f"loss_{name}" if name in {"cross", "proto", "centroid"} else name


def _write_metrics(run_dir: RunDir, epoch: int | None, figures: dict[str, float]) -> None:
    """One file an epoch, so that an epoch that is trained again replaces its own; -1 is before training."""
    name = "encoders.parquet" if epoch is None else f"{PART_PREFIX}{epoch + 1:05d}.parquet"
    run_dir.write_part("metrics", name, metric_table("pretrain", epoch, figures))
