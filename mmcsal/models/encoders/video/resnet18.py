"""ResNet-18 per frame, averaged over time: sees what things look like, not how they move."""

from typing import Literal

from torch import Tensor, nn

from mmcsal.models.encoders.resnet_trunk import WIDTH, resnet18_features
from mmcsal.models.norms import NormedSpec

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, the data of torchvision's weights
STD = (0.229, 0.224, 0.225)


class ResnetVideoSpec(NormedSpec):
    """Parameters of the per-frame ResNet-18."""

    kind: Literal["resnet18"] = "resnet18"

    @property
    def needs_color(self) -> bool:
        """Whether the encoder looks at colour; if not, training may hold gray frames only."""
        return True

    def build(self) -> "ResnetVideo":
        """The encoder, with fresh or loaded weights."""
        return ResnetVideo(self)


class ResnetVideo(nn.Module):
    """Video float [B, T, H, W, 3] in [0, 1] -> features [B, 512]."""

    def __init__(self, spec: ResnetVideoSpec):
        super().__init__()
        self.width = WIDTH
        self.frames = resnet18_features(3, spec.weights, spec.norm)

    def forward(self, video_BTHWC: Tensor) -> Tensor:
        """See the class."""
        x = (video_BTHWC - video_BTHWC.new_tensor(MEAN)) / video_BTHWC.new_tensor(STD)
        frames_NCHW = x.flatten(0, 1).permute(0, 3, 1, 2)
        return self.frames(frames_NCHW).unflatten(0, x.shape[:2]).mean(dim=1)
