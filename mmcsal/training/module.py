"""Model and objective as one module with one forward pass: what DistributedDataParallel wants to wrap."""

import torch
from torch import Tensor, nn

from mmcsal.losses import MmsslObjective
from mmcsal.models.two_tower import TwoTower
from mmcsal.training.augment import View

Loss = tuple[Tensor, dict[str, Tensor]]  # with gradient, and its detached parts by name
Assigned = dict[str, Tensor] | None  # modality -> the prototype of each pair, int64 [B]


class Mmssl(nn.Module):
    """Two views of a batch in, the loss out; every parameter takes part in every step."""

    def __init__(
        self,
        model: TwoTower,
        objective: MmsslObjective,
        *,
        use_bfloat16: bool = False,
        compile_encoders: bool = False,
    ):
        super().__init__()
        self.model = model
        self.objective = objective
        self.use_bfloat16 = use_bfloat16
        # Not in place: measuring and embedding, with other shapes, stay as they are. Views have a few lengths only.
        self._encode = torch.compile(model.encode, dynamic=False) if compile_encoders else model.encode

    def forward(self, view1: View, view2: View, assigned: Assigned = None) -> Loss:
        """The loss of this worker's rows."""
        return self.loss_of(*self.encode(both_views(view1, view2)), assigned)

    def encode(self, views: View) -> tuple[Tensor, Tensor]:
        """Features of both modalities, float32 [B, C1] and [B, C2]; the one part that half precision is used in."""
        with torch.autocast(views.video_BTHWC.device.type, dtype=torch.bfloat16, enabled=self.use_bfloat16):
            video_BC, audio_BC = self._encode(*views)
        dtype = self.model.video_head.output.weight.dtype
        return video_BC.to(dtype), audio_BC.to(dtype)

    def loss_of(self, video_BC: Tensor, audio_BC: Tensor, assigned: Assigned = None) -> Loss:
        """The loss of this worker's rows from the features of both views, the first view's rows first."""
        z_video_BD, z_audio_BD = self.model.project(video_BC, audio_BC)
        video1_BD, video2_BD = z_video_BD.chunk(2)
        audio1_BD, audio2_BD = z_audio_BD.chunk(2)
        return self.objective((video1_BD, audio1_BD), (video2_BD, audio2_BD), assigned)


def both_views(view1: View, view2: View) -> View:
    """One batch of twice the rows: half the kernel launches, and BatchNorm sees all of them."""
    return View(*(torch.cat(parts) for parts in zip(view1, view2, strict=True)))
