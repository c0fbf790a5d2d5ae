"""Cross-modal retrieval."""

from mmcsal.metrics.arrays import Array, as_float64, namespace_of
from mmcsal.metrics.checks import check_labels, check_pairs

CHUNK = 4096  # queries at a time: bounds memory


def recall_at_1(query_ND: Array, target_ND: Array) -> Array:
    """Share of queries whose most similar target is their own partner (the first one of equals counts).

    Args:
        query_ND: unit-norm embeddings of two modalities, row i with row i.
        target_ND: see `query_ND`.

    Returns:
        scalar in [0, 1]; 1 / N by chance.

    Raises:
        ValueError: shapes differ, or N == 0.
    """
    check_pairs(query_ND, target_ND)
    own_N = namespace_of(query_ND).arange(len(query_ND), device=query_ND.device)
    return as_float64(nearest(query_ND, target_ND) == own_N).mean()


def class_recall_at_1(query_ND: Array, target_ND: Array, labels_N: Array) -> Array:
    """Share of queries whose most similar target is of their own class.

    Args:
        labels_N: integer class of each pair.

    Returns:
        scalar in [0, 1].

    Raises:
        ValueError: shapes differ, or N == 0.
    """
    check_pairs(query_ND, target_ND)
    check_labels(query_ND, labels_N)
    return as_float64(labels_N[nearest(query_ND, target_ND)] == labels_N).mean()


def nearest(query_ND: Array, target_ND: Array) -> Array:
    """Index of the most similar target of each query, int64 [N]."""
    chunks = [query_ND[start : start + CHUNK] for start in range(0, len(query_ND), CHUNK)]
    return namespace_of(query_ND).concatenate([(chunk @ target_ND.T).argmax(axis=1) for chunk in chunks])
