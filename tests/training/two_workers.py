"""Run as a process by test_two_workers: the gradients of one of two gloo workers on its half of a batch."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.projection import ProjectionSpec
from mmcsal.training.module import Mmssl

BATCH_SIZE = 8
PRESETS = ("default", "paper")


def build(preset: str) -> Mmssl:
    """The whole Stage 1 module, in float64; alike in every process."""
    spec = ModelSpec(head=ProjectionSpec(hidden_width=24, embedding_width=16))
    objective_spec = MmsslSpec.model_validate(
        {"preset": preset, "lambda_centroid": 1.0, "proto": {"num_prototypes": 6}}
    )
    torch.manual_seed(1)
    return Mmssl(build_model(spec, seed=0), MmsslObjective(objective_spec, ("video", "audio"), 16)).double()


def views(rows: slice) -> tuple:
    """Two views of the rows of one fixed batch."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for _ in range(2):
        video = torch.rand(BATCH_SIZE, 6, 24, 24, 1, generator=generator, dtype=torch.float64)
        audio = torch.rand(BATCH_SIZE, 9000, generator=generator, dtype=torch.float64) - 0.5
        made.append((video[rows], audio[rows]))
    return tuple(made)


def gradients(preset: str, rows: slice, *, wrap: bool) -> dict:
    """Loss, gradients and buffers after one backward pass."""
    module = build(preset).train()
    forward = DistributedDataParallel(module) if wrap else module
    loss, _ = forward(*views(rows))
    loss.backward()
    if wrap:
        dist.all_reduce(loss.data)
        loss.data /= dist.get_world_size()
    return {
        "loss": loss.detach(),
        "gradients": {n: p.grad for n, p in module.named_parameters()},
        "buffers": dict(module.named_buffers()),
    }


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    share = BATCH_SIZE // 2
    for preset in PRESETS:
        result = gradients(preset, slice(rank * share, (rank + 1) * share), wrap=True)
        torch.save(result, folder / f"{preset}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
