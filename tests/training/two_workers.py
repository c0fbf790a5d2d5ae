"""Run as a process by test_two_workers: the gradients of one of two gloo workers on its half of a batch."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.fusion import FusionClassifier
from mmcsal.models.heads import ProjectionSpec
from mmcsal.training.augment import View
from mmcsal.training.evidence.dynamics import Dynamics
from mmcsal.training.finetune.classifier import losses_of
from mmcsal.training.grad_cache import cached_backward
from mmcsal.training.module import Mmssl

BATCH_SIZE = 8
NUM_PROTOTYPES = 6
WIDTH = 16
# Objectives, with `micro_batch_size` beside them where the encoders see the batch in pieces.
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"preset": "paper"},
    "queue": {"proto": {"queue_rows": 12}},
    "pcl": {"proto": {"kind": "pcl"}},
    "micro batches": {"micro_batch_size": 3},
}
CLASSIFIER = "classifier"  # one more case: labels instead of an objective
NUM_CLASSES = 3


def build(case: str) -> Mmssl:
    """The whole Stage 1 module, in float64; alike in every process."""
    spec = ModelSpec(head=ProjectionSpec(hidden_width=24, embedding_width=WIDTH))
    given = {key: value for key, value in CASES[case].items() if key != "micro_batch_size"}
    proto = {**given.pop("proto", {}), "num_prototypes": NUM_PROTOTYPES}
    objective_spec = MmsslSpec.model_validate({"lambda_centroid": 1.0, **given, "proto": proto})
    torch.manual_seed(1)
    module = Mmssl(build_model(spec, seed=0), MmsslObjective(objective_spec, ("video", "audio"), WIDTH)).double()
    if case == "pcl":
        for seed, prototypes in enumerate(module.objective.proto.values()):
            generator = torch.Generator().manual_seed(seed)
            prototypes.refit(F.normalize(torch.randn(40, WIDTH, generator=generator), dim=1))
    return module


def views(rows: slice, seed: int = 2) -> tuple[View, View]:
    """Two views of the rows of one fixed batch."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(2):
        video = torch.rand(BATCH_SIZE, 6, 24, 24, 1, generator=generator, dtype=torch.float64)
        audio = torch.rand(BATCH_SIZE, 9000, generator=generator, dtype=torch.float64) - 0.5
        mask = torch.rand(BATCH_SIZE, 1, 4, generator=generator, dtype=torch.float64) * 0.3
        made.append(View(video[rows], audio[rows], mask[rows]))
    return made[0], made[1]


def assigned(case: str, rows: slice) -> dict[str, torch.Tensor] | None:
    """Prototypes of the rows where the objective asks for them; one row has none."""
    if case != "pcl":
        return None
    numbers_B = torch.arange(BATCH_SIZE) - 1
    return {"video": numbers_B[rows] % NUM_PROTOTYPES, "audio": (2 * numbers_B[rows]).clamp(-1, NUM_PROTOTYPES - 1)}


def gradients(case: str, rows: slice, *, wrap: bool) -> dict:
    """Loss, gradients, buffers and dynamics after one backward pass; for a queue, after others have filled it."""
    module = build(case).train()
    forward = DistributedDataParallel(module, broadcast_buffers=False) if wrap else module
    for seed in (3, 4) if case == "queue" else ():
        forward(*views(rows, seed), None)
    size = CASES[case].get("micro_batch_size")
    if size is not None:
        loss, parts = cached_backward(module, *views(rows), None, size)
    else:
        loss, parts = forward(*views(rows), assigned(case, rows))
        loss.backward()
    dynamics = Dynamics(BATCH_SIZE)
    dynamics.add(torch.arange(BATCH_SIZE)[rows], parts["own_log_p"])
    return {**_result(module, loss, wrap=wrap), "dynamics": dynamics.state()}


def classifier_gradients(rows: slice, *, wrap: bool) -> dict:
    """As `gradients`, of one step of fine-tuning; the layers have weights, or nothing would reach the encoders."""
    model = FusionClassifier(build_model(ModelSpec(), seed=0), NUM_CLASSES).double()
    torch.manual_seed(1)
    for layer in (model.both, model.video, model.audio):
        layer.reset_parameters()
    forward = DistributedDataParallel(model, broadcast_buffers=False) if wrap else model
    losses = losses_of(forward(*views(rows)[0]), torch.arange(BATCH_SIZE)[rows] % NUM_CLASSES)
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    return _result(model, loss, wrap=wrap)


def _result(module: torch.nn.Module, loss: torch.Tensor, *, wrap: bool) -> dict:
    loss = loss.detach()
    if wrap:
        dist.all_reduce(loss)
        loss /= dist.get_world_size()
    return {
        "loss": loss,
        "gradients": {n: p.grad for n, p in module.named_parameters()},
        "buffers": dict(module.named_buffers()),
    }


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    share = BATCH_SIZE // 2
    rows = slice(rank * share, (rank + 1) * share)
    for case in (*CASES, CLASSIFIER):
        result = classifier_gradients(rows, wrap=True) if case == CLASSIFIER else gradients(case, rows, wrap=True)
        torch.save(result, folder / f"{case}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
