"""One worker of Ray Train that fine-tunes the classifier. What it computes is in `mmcsal.training`."""

import time
from dataclasses import dataclass
from typing import Any

import ray.train
import torch
from ray.train.torch import get_device
from torch.nn.parallel import DistributedDataParallel

from mmcsal.config import RunConfig
from mmcsal.contracts.stages import FINETUNE
from mmcsal.distributed.cluster.telemetry import DATA_WAIT_RATIO, record
from mmcsal.distributed.workers.trainer import (
    clip_batches,
    count_step,
    mean_over_workers,
    metric_table,
    report,
    restored,
    serialized,
    trained_encoders,
)
from mmcsal.models.fusion import Logits
from mmcsal.storage.rundir import PART_NAME, RunDir
from mmcsal.tensors.collectives import gather_uneven
from mmcsal.training.calibrate import share_norms
from mmcsal.training.data import ClipBatches
from mmcsal.training.finetune.classifier import FinetuneState, answers, figures_of, finetune_epoch

FOLDER, CLASSIFIER_FILE = FINETUNE.folder, "classifier.pt"
FINAL_PART = "final.parquet"  # figures of the classifier that is kept; each epoch has a part of its own


@dataclass(frozen=True)
class LabelSplit:
    """The labels of clips: what is learned, and what it is tested on."""

    classes: tuple[str, ...]
    label_of: dict[str, int]  # sample_id -> place in `classes`
    held_out: tuple[str, ...]  # the ids that are tested

    def batches(self, config: RunConfig, run_dir: RunDir) -> ClipBatches:
        """The labeled clips, as training reads them.

        Raises:
            InputError: they are too few for the number of workers.
        """
        return clip_batches(config, run_dir, config.finetune, only=self.label_of, held_out=self.held_out)


def finetune_loop(loop: dict[str, Any]) -> None:
    """Trains and tests; every worker runs it with the same arguments."""
    config, run_dir, labels = loop["config"], loop["run_dir"], loop["labels"]
    torch.set_num_threads(config.finetune.threads_per_worker)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    batches = labels.batches(config, run_dir)
    state = _new_state(config, run_dir, labels, batches)
    forward = DistributedDataParallel(state.model, broadcast_buffers=False) if num_workers > 1 else None
    where = {"rank": rank, "num_workers": num_workers}
    tested: dict[str, float] = {}
    while not state.done:
        figures = finetune_epoch(state, batches, labels.label_of, forward=forward, on_step=count_step, **where)
        figures = mean_over_workers(figures, num_workers)
        begun_s = time.perf_counter()
        tested = _test(state, batches, labels, **where)
        figures |= {**tested, "measure_s": time.perf_counter() - begun_s, "num_workers": num_workers}
        if rank == 0:
            record(DATA_WAIT_RATIO, figures["data_wait_share"])
            part = PART_NAME.format(state.epoch)
            run_dir.write_part(FOLDER, part, metric_table("finetune", state.epoch - 1, figures))
        report(state.state_dict, figures, f"epoch-{state.epoch:05d}")
    tested = tested or _test(state, batches, labels, **where)  # killed between the last checkpoint and here
    if rank == 0:
        _export(state, tested, labels, run_dir)


def _new_state(config: RunConfig, run_dir: RunDir, labels: LabelSplit, batches: ClipBatches) -> FinetuneState:
    """As its last checkpoint has it, else fresh."""
    pretrained = trained_encoders(run_dir) if config.finetune.encoders == "pretrained" else None
    state = FinetuneState(
        config.finetune,
        config.model,
        len(labels.classes),
        seed=config.seed,
        steps_per_epoch=batches.steps_per_epoch,
        pretrained=pretrained,
        device=str(get_device()),
    )
    checkpoint = restored()
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    return state


def _test(
    state: FinetuneState, batches: ClipBatches, labels: LabelSplit, *, rank: int, num_workers: int
) -> dict[str, float]:
    """What the classifier is worth on the samples held out, of which each worker answers a share."""
    share_norms(state.model)
    own = answers(state.model, batches.share_of_held_out(rank, num_workers))
    label_N = torch.tensor([labels.label_of[sample_id] for sample_id in batches.held_out_ids])
    return figures_of(Logits(*(gather_uneven(x) for x in own)), label_N, labels.classes)


def _export(state: FinetuneState, tested: dict[str, float], labels: LabelSplit, run_dir: RunDir) -> None:
    """The classifier of the last epoch: choosing one by the samples held out would flatter it."""
    counts = {"num_trained": len(labels.label_of) - len(labels.held_out), "num_tested": len(labels.held_out)}
    run_dir.write_part(FOLDER, FINAL_PART, metric_table("finetune", None, {**counts, **tested}))
    run_dir.write_bytes(serialized(state.classifier_dict(labels.classes)), FOLDER, CLASSIFIER_FILE)
