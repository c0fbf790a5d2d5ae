"""Model and objective as one module with one forward pass: what DistributedDataParallel wants to wrap."""

import torch
from torch import Tensor, nn

from mmcsal.losses import MmsslObjective
from mmcsal.models.two_tower import TwoTower
from mmcsal.training.augment import View


class Mmssl(nn.Module):
    """Two views of a batch in, the loss out; every parameter takes part in every step."""

    def __init__(self, model: TwoTower, objective: MmsslObjective):
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, view1: View, view2: View) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this worker's rows, and its detached parts by name."""
        # Both views in one pass: half the kernel launches, and BatchNorm sees twice the rows.
        z_video_BD, z_audio_BD = self.model(torch.cat((view1[0], view2[0])), torch.cat((view1[1], view2[1])))
        video1_BD, video2_BD = z_video_BD.chunk(2)
        audio1_BD, audio2_BD = z_audio_BD.chunk(2)
        return self.objective((video1_BD, audio1_BD), (video2_BD, audio2_BD))
