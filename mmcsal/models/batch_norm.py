"""BatchNorm over the rows of all workers.

`nn.SyncBatchNorm` runs on GPUs only; this one runs on any device and gives the gradients of a single worker that
holds the global batch, so a result does not depend on how many workers made it.
"""

import torch
from torch import Tensor, nn

from mmcsal.tensors.collectives import all_reduce_sum, num_workers


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` on [B, C] with the statistics of all workers' rows; the same keys in its state."""

    def forward(self, input: Tensor) -> Tensor:
        """Float [B, C] -> [B, C]; every worker must hold the same B."""
        if not self.training or num_workers() == 1:
            return super().forward(input)
        num_rows = len(input) * num_workers()
        # Two passes: the one-pass E[x^2] - E[x]^2 cancels in float32.
        mean_C = all_reduce_sum(input.sum(dim=0)) / num_rows
        centered_BC = input - mean_C
        variance_C = all_reduce_sum(centered_BC.square().sum(dim=0)) / num_rows
        self._track(mean_C.detach(), variance_C.detach() * num_rows / (num_rows - 1))
        return centered_BC * (variance_C + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def _track(self, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance_C.to(self.running_var.dtype), self.momentum)
