"""The plane of the map: the two directions in which the joint embedding of the pool varies most."""

import numpy as np
import pyarrow as pa

from mmcsal.contracts.embedding import SUFFIX, modalities_of, read_vectors
from mmcsal.report.facts import MapPoints, Pick
from mmcsal.report.lookup import lowest_hash_ids, vectors_of_ids
from mmcsal.storage.tables import Rows


def map_points(embeddings: Rows, picks: tuple[Pick, ...], num_points: int) -> MapPoints | None:
    """Where the picks lie in a bounded sample of the pool; None where no embedding belongs to a pick."""
    modalities = modalities_of(embeddings.schema)
    rank_of_id = {pick.sample_id: pick.rank for pick in picks[:num_points]}
    pool_ids = [i for i in lowest_hash_ids(embeddings, num_points) if i not in rank_of_id]
    columns = ["sample_id", *(f"{m}{SUFFIX}" for m in modalities)]
    table = vectors_of_ids(embeddings, [*pool_ids, *rank_of_id], columns)

    row_of_id = {i: row for row, i in enumerate(table["sample_id"].to_pylist())}
    pick_ids = [i for i in rank_of_id if i in row_of_id]
    if not modalities or not pick_ids:
        return None
    # In this order and no other: the order of parts on disk must not reach the last bit of the plane.
    joint_ND = joint_embedding(table, modalities)[[row_of_id[i] for i in [*pool_ids, *pick_ids]]]
    points_N2, explained_2 = principal_plane(joint_ND)
    pool_N2, picks_P2 = points_N2[: len(pool_ids)], points_N2[len(pool_ids) :]
    return MapPoints(pool_N2, picks_P2, np.array([rank_of_id[i] for i in pick_ids]), explained_2)


def joint_embedding(table: pa.Table, modalities: list[str]) -> np.ndarray:
    """All modalities of a sample side by side, float64 [N, D], unit norm where each modality has it."""
    return np.hstack([read_vectors(table, m).astype(np.float64) for m in modalities]) / np.sqrt(len(modalities))


def principal_plane(vectors_ND: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Coordinates [N, 2] on the first two principal components, and the share of the variance of each.

    The sign of a component is free; it is fixed so that the loading of largest magnitude is positive.
    """
    centered_ND = np.nan_to_num(vectors_ND - vectors_ND.mean(axis=0))
    variance_D, axes_DD = np.linalg.eigh(centered_ND.T @ centered_ND)
    axes_D2 = np.zeros((vectors_ND.shape[1], 2))
    width = min(2, vectors_ND.shape[1])
    axes_D2[:, :width] = axes_DD[:, ::-1][:, :width]
    strongest_2 = np.abs(axes_D2).argmax(axis=0)
    axes_D2 *= np.where(axes_D2[strongest_2, [0, 1]] < 0, -1.0, 1.0)
    total = max(float(variance_D.sum()), np.finfo(float).tiny)
    shares = [max(float(v), 0.0) / total for v in variance_D[::-1][:2]] + [0.0]
    return np.round(centered_ND @ axes_D2, 6), (shares[0], shares[1])
