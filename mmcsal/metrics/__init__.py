"""Measures of embeddings and of what they are worth, one a file, torch only.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
A, B   clusters of one clustering, of another
C      classes
K      prototypes
M      bins of confidence
=====  ==========================================
"""

from mmcsal.metrics.effective_rank import effective_rank
from mmcsal.metrics.gap import modality_gap
from mmcsal.metrics.knn_probe import knn_accuracy
from mmcsal.metrics.linear_probe import linear_accuracy
from mmcsal.metrics.mix import mix
from mmcsal.metrics.nmi import cluster_nmi
from mmcsal.metrics.pair_distance import positive_pair_distance
from mmcsal.metrics.prototype_usage import prototype_usage
from mmcsal.metrics.retrieval import class_recall_at_1, recall_at_1
from mmcsal.metrics.retrieval_loss import retrieval_loss
from mmcsal.metrics.uniformity import uniformity

__all__ = [
    "class_recall_at_1",
    "cluster_nmi",
    "effective_rank",
    "knn_accuracy",
    "linear_accuracy",
    "mix",
    "modality_gap",
    "positive_pair_distance",
    "prototype_usage",
    "recall_at_1",
    "retrieval_loss",
    "uniformity",
]
