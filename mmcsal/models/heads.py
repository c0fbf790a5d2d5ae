"""Projection head: from an encoder's features to the space that both modalities share."""

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcsal.contracts.spec import Spec
from mmcsal.models.batch_norm import BatchNorm


class ProjectionSpec(Spec):
    """Parameters of the head."""

    hidden_width: int = Field(default=256, ge=1)
    embedding_width: int = Field(default=128, ge=2)


class ProjectionHead(nn.Module):
    """Features [B, C] -> unit-norm embeddings [B, D].

    BatchNorm in the hidden layer only: on the output it would centre each modality by its own statistics.
    """

    def __init__(self, spec: ProjectionSpec, input_width: int):
        super().__init__()
        self.hidden = nn.Linear(input_width, spec.hidden_width, bias=False)  # the norm brings its own bias
        self.norm = BatchNorm(spec.hidden_width)
        self.output = nn.Linear(spec.hidden_width, spec.embedding_width)

    def forward(self, features_BC: Tensor) -> Tensor:
        """See the class."""
        return F.normalize(self.output(F.relu(self.norm(self.hidden(features_BC)))), dim=1)
