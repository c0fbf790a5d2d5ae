"""Training dynamics: how probable each sample's own partner was, over all epochs.

A pair that belongs together is learned early and stays probable; a mispaired one is learned late, by heart. The mean
over the epochs tells them apart where the encoders at the end no longer do.

Eight bytes a sample, in every worker and in each checkpoint: half of what the order of an epoch takes.
"""

from typing import Any

import torch
from torch import Tensor

from mmcsal.tensors.collectives import gather_rows


class Dynamics:
    """Sum and number of the log p of every sample; the same in all workers."""

    def __init__(self, num_clips: int) -> None:
        self.log_p_N = torch.zeros(num_clips)
        self.num_seen_N = torch.zeros(num_clips, dtype=torch.int32)

    @torch.no_grad()
    def add(self, place_B: Tensor, log_p_B: Tensor) -> None:
        """Counts the rows of a step, of all workers.

        Args:
            place_B: of this worker's rows among all clips.
            log_p_B: see `losses.info_nce.own_log_p`.
        """
        # In one message: places are whole numbers far below 2^53.
        rows_B2 = torch.stack((place_B.to(log_p_B.device, torch.float64), log_p_B.double()), dim=1)
        place, log_p = gather_rows(rows_B2).cpu().unbind(dim=1)
        self.log_p_N[place.long()] += log_p.float()
        self.num_seen_N[place.long()] += 1

    @property
    def mean_log_p_N(self) -> Tensor:
        """Over the times that a sample was seen, float64 [N]; NaN where it never was."""
        return self.log_p_N.double() / self.num_seen_N

    def state(self) -> dict[str, Any]:
        """For a checkpoint, see `load_state`."""
        return {"log_p_N": self.log_p_N, "num_seen_N": self.num_seen_N}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.log_p_N, self.num_seen_N = state["log_p_N"].clone(), state["num_seen_N"].clone()
