"""The classifier that labels have trained so far, as warm-start strategies see it: linear, so a few numbers a class."""

from dataclasses import dataclass

import numpy as np

from mmcsal.selection.numerics.quantize import JOINT_UNIT


@dataclass(frozen=True)
class Head:
    """Logits `x @ weight_DC + bias_C`."""

    weight_DC: np.ndarray  # float64
    bias_C: np.ndarray

    def logits(self, x_ND: np.ndarray) -> np.ndarray:
        """float64 [N, C]."""
        return x_ND @ self.weight_DC + self.bias_C

    def probabilities(self, x_ND: np.ndarray) -> np.ndarray:
        """float64 [N, C], rows that sum to 1."""
        return softmax(self.logits(x_ND))


@dataclass(frozen=True)
class FusedClassifier:
    """A head on both modalities side by side, each at unit norm, and one on each modality alone."""

    classes: tuple[str, ...]
    both: Head
    alone: tuple[Head, Head]

    @property
    def width_a(self) -> int:
        """RowArrays of the first modality."""
        return len(self.alone[0].weight_DC)

    def views(self, x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The two modalities of rows that hold both."""
        return x_ND[:, : self.width_a], x_ND[:, self.width_a :]


def features(joint_ND: np.ndarray) -> np.ndarray:
    """Both modalities at unit norm, side by side, float64, of quantised joint embeddings."""
    return joint_ND / JOINT_UNIT


def softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Of each row."""
    powers_NC = np.exp(logits_NC - logits_NC.max(axis=-1, keepdims=True))
    return powers_NC / powers_NC.sum(axis=-1, keepdims=True)


def entropy(probability_NC: np.ndarray) -> np.ndarray:
    """Of each row, in nats; [..., C] -> [...]."""
    return -np.sum(probability_NC * np.log(np.maximum(probability_NC, np.finfo(np.float64).tiny)), axis=-1)
