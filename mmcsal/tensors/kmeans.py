"""Spherical k-means in torch, for a few ten thousand rows; the same rows in the same order give the same clusters."""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 16384  # rows at a time: bounds memory
START_ROWS = 8  # a cluster, to choose the first centres from


@torch.no_grad()
def spherical_kmeans(x_ND: Tensor, num_clusters: int, *, num_iterations: int = 20) -> Tensor:
    """Unit-norm centres, float32 or wider [K, D], that k-means by cosine finds from rows far from each other.

    It starts from one of 8 K rows drawn at random (always the same for N rows) and then, time after time, from the one
    of them least similar to all centres so far; a cluster that loses all its rows takes the row that is worst covered.

    Args:
        x_ND: unit-norm rows, float.

    Raises:
        ValueError: N < K, or K < 1.

    Source:
        Dhillon & Modha, "Concept Decompositions for Large Sparse Text Data", 2001.
    """
    if x_ND.ndim != 2 or not 1 <= num_clusters <= len(x_ND):
        raise ValueError(f"spherical_kmeans: {num_clusters} clusters of rows {tuple(x_ND.shape)}: need 1 <= K <= N")
    x_ND = x_ND.to(torch.promote_types(x_ND.dtype, torch.float32))
    # Drawn, not every so-and-so-many'th: an order with a period would give rows of one kind.
    drawn = torch.randperm(len(x_ND), generator=torch.Generator().manual_seed(0))[: START_ROWS * num_clusters]
    centre_KD = _far_apart(x_ND[drawn.to(x_ND.device)], num_clusters)
    for _ in range(num_iterations):
        nearest_N, similarity_N = nearest_centres(x_ND, centre_KD)
        total_KD = torch.zeros_like(centre_KD).index_add_(0, nearest_N, x_ND)
        empty_E = (torch.bincount(nearest_N, minlength=num_clusters) == 0).nonzero()[:, 0]
        total_KD[empty_E] = x_ND[similarity_N.argsort(stable=True)[: len(empty_E)]]
        moved_KD = F.normalize(total_KD, dim=1)
        if torch.equal(moved_KD, centre_KD):
            break
        centre_KD = moved_KD
    return centre_KD


@torch.no_grad()
def nearest_centres(x_ND: Tensor, centre_KD: Tensor) -> tuple[Tensor, Tensor]:
    """(index int64 [N], cosine [N]) of the most similar centre of each unit-norm row."""
    best = [(chunk @ centre_KD.T).max(dim=1) for chunk in x_ND.split(CHUNK)]
    return torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])


def _far_apart(x_ND: Tensor, num_clusters: int) -> Tensor:
    chosen = [0]
    closest_N = x_ND @ x_ND[0]
    for _ in range(num_clusters - 1):
        chosen.append(int(closest_N.argmin()))
        closest_N = torch.maximum(closest_N, x_ND @ x_ND[chosen[-1]])
    return x_ND[chosen].clone()
