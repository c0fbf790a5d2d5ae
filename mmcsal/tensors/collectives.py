"""Collectives over the workers of a training job; without a process group they are the identity.

The contract that all objectives rest on: each worker returns its own loss L_r, and the gradients of the workers are
*averaged* (as DistributedDataParallel does), so what is trained is mean_r L_r. The backward of every collective
therefore *sums* the gradients of all workers and never multiplies by their number.
Every worker must hold the same number of rows: the batches are cut that way (`mmcsal.training.data`).
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def num_workers() -> int:
    """Workers in the process group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def worker_rank() -> int:
    """This worker's rank; 0 without a process group."""
    return dist.get_rank() if num_workers() > 1 else 0


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM)
        return total


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.num_rows = len(x)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(num_workers())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # gloo has no reduce-scatter: sum everything, keep the own rows.
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM)
        first = worker_rank() * ctx.num_rows
        return total[first : first + ctx.num_rows]


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of `x` over all workers, with gradient; same shape."""
    return x if num_workers() == 1 else _AllReduceSum.apply(x)  # pyright: ignore[reportReturnType]


def gather_rows(x_BD: Tensor) -> Tensor:
    """The rows of all workers in rank order, [num_workers * B, D], with gradient."""
    return x_BD if num_workers() == 1 else _GatherRows.apply(x_BD)  # pyright: ignore[reportReturnType]


def mean_rows(x_BD: Tensor) -> Tensor:
    """Mean over the rows of all workers, [D], with gradient."""
    return all_reduce_sum(x_BD.sum(dim=0)) / (len(x_BD) * num_workers())


@torch.no_grad()
def broadcast(x: Tensor) -> Tensor:
    """The first worker's `x` on every worker, in place; without gradient."""
    if num_workers() > 1:
        dist.broadcast(x, src=0)
    return x


@torch.no_grad()
def gather_uneven(x: Tensor) -> Tensor:
    """The rows of all workers in rank order, of CPU tensors whose numbers of rows may differ; without gradient."""
    if num_workers() == 1:
        return x
    parts: list[Any] = [None] * num_workers()
    dist.all_gather_object(parts, x)
    return torch.cat(parts)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sets each gradient to the workers' mean, as DistributedDataParallel does, for passes that it cannot wrap."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if num_workers() == 1 or not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])  # one message instead of one a parameter
    dist.all_reduce(flat, dist.ReduceOp.SUM)
    flat /= num_workers()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def logsumexp_rows(x_BK: Tensor) -> Tensor:
    """log of the sum over the rows of all workers of exp(x), [K], without gradient; finite wherever x is."""
    peak_K = x_BK.amax(dim=0)
    if num_workers() == 1:
        return peak_K + (x_BK - peak_K).exp().sum(dim=0).log()
    dist.all_reduce(peak_K, dist.ReduceOp.MAX)
    total_K = (x_BK - peak_K).exp().sum(dim=0)
    dist.all_reduce(total_K, dist.ReduceOp.SUM)
    return peak_K + total_K.log()
