"""R(2+1)D-18: convolutions over space and over time in turn, so it sees how things move.

Source:
    Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", 2018.
"""

from typing import Literal

from torch import Tensor, nn

from mmcsal.models.encoders.resnet_trunk import WIDTH, load_torchvision_weights
from mmcsal.models.norms import NormedSpec, replace_batch_norms

MEAN = (0.43216, 0.394666, 0.37645)  # of Kinetics-400, the data of torchvision's weights
STD = (0.22803, 0.22145, 0.216989)


class R2plus1dVideoSpec(NormedSpec):
    """Parameters of R(2+1)D-18."""

    kind: Literal["r2plus1d_18"] = "r2plus1d_18"

    @property
    def needs_color(self) -> bool:
        """Whether the encoder looks at colour; if not, training may hold gray frames only."""
        return True

    def build(self) -> "R2plus1dVideo":
        """The encoder, with fresh or loaded weights."""
        return R2plus1dVideo(self)


class R2plus1dVideo(nn.Module):
    """Video float [B, T, H, W, 3] in [0, 1] -> features [B, 512].

    Any T, H, W >= 1: the strides round up. Time is cut to an eighth and space to a sixteenth.
    """

    def __init__(self, spec: R2plus1dVideoSpec):
        super().__init__()
        from torchvision.models.video import r2plus1d_18  # an extra: selection must import without it

        self.width = WIDTH
        self.clips = r2plus1d_18(weights=None)
        self.clips.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        if spec.weights is not None:
            load_torchvision_weights(self.clips, spec.weights, "r2plus1d_18")
        replace_batch_norms(self.clips, spec.norm)

    def forward(self, video_BTHWC: Tensor) -> Tensor:
        """See the class.

        Raises:
            ValueError: another shape, gray frames, or no frame at all.
        """
        if video_BTHWC.ndim != 5 or video_BTHWC.shape[-1] != 3 or 0 in video_BTHWC.shape[1:]:
            raise ValueError(
                f"r2plus1d_18: expected video [B, T, H, W, 3] with T, H, W >= 1, got {list(video_BTHWC.shape)}"
            )
        x_BTHWC = (video_BTHWC - video_BTHWC.new_tensor(MEAN)) / video_BTHWC.new_tensor(STD)
        return self.clips(x_BTHWC.permute(0, 4, 1, 2, 3))
