"""Other methods that choose rows of a pool, behind one interface: the peers of the selection benchmarks.

Every method takes the joint embedding of the pool, [a; v] / sqrt(2) of unit-norm views (so float32 of unit norm), a
budget and a seed, and returns that many distinct rows, int64. None sees labels or alignment. Parameters are the
defaults of each method's public code. The packages are in the extra `bench`; the method that needs one imports it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Peer = Callable[[np.ndarray, int, int], np.ndarray]

MAX_DENSE_ROWS = 20_000  # of the peers that hold N x N similarities: 3.2 GB in float64, and they make copies
NUM_ACTIVEFT_ITERATIONS = 300
MAX_TYPICLUST_CLUSTERS, MIN_TYPICLUST_CLUSTER, NUM_TYPICLUST_NEIGHBOURS = 500, 5, 20
ACTIVEFT_ROWS = 16384


def random(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Rows drawn uniformly."""
    return np.random.default_rng(seed).choice(len(joint_ND), budget, replace=False)


# ---- clusters and covers ---------------------------------------------------------------------------------------------


def faiss_kmeans(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """The rows nearest to the centroids of k-means with k = budget (Douze et al. 2024, The Faiss Library).

    Faiss's defaults: 25 iterations, at most 256 rows a cluster to train on.
    """
    return _nearest_distinct(joint_ND, _kmeans(joint_ND, budget, seed).centroids)


def k_center(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Greedy k-center, the core-set method (Sener & Savarese 2018): always the row farthest from the picks so far."""
    picks = [int(np.random.default_rng(seed).integers(len(joint_ND)))]
    closest_N = np.full(len(joint_ND), -np.inf, np.float32)  # the largest cosine to a pick
    while len(picks) < budget:
        np.maximum(closest_N, joint_ND @ joint_ND[picks[-1]], out=closest_N)
        closest_N[picks[-1]] = np.inf
        picks.append(int(closest_N.argmin()))
    return np.array(picks, np.int64)


def typiclust(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """TypiClust (Hacohen et al. 2022): the most typical row of each cluster, from the largest cluster to the smallest.

    As in the authors' code: min(budget, 500) clusters by k-means, those of 5 rows or fewer left out, as many rounds
    over the clusters as it takes. Typicality is the inverse mean square distance to the 20 nearest neighbours (half of
    the cluster, if that is less) among the rows of the cluster that are not picked yet.
    """
    num_clusters = min(budget, MAX_TYPICLUST_CLUSTERS)
    label_N = _kmeans(joint_ND, num_clusters, seed).assign(joint_ND)[1]
    members = [np.flatnonzero(label_N == cluster) for cluster in range(num_clusters)]
    members.sort(key=len, reverse=True)
    large = [rows for rows in members if len(rows) > MIN_TYPICLUST_CLUSTER]
    open_clusters = large if sum(map(len, large)) >= budget else members
    picks: list[int] = []
    while len(picks) < budget:
        open_clusters = [rows for rows in open_clusters if len(rows)]
        for place, rows in enumerate(open_clusters[: budget - len(picks)]):
            best = _most_typical(joint_ND[rows])
            picks.append(int(rows[best]))
            open_clusters[place] = np.delete(rows, best)
    return np.array(picks, np.int64)


def _most_typical(joint_ND: np.ndarray) -> int:
    import faiss

    if len(joint_ND) == 1:
        return 0
    num_neighbours = min(NUM_TYPICLUST_NEIGHBOURS, max(len(joint_ND) // 2, 1))
    square_distance_NK, _ = faiss.knn(joint_ND, joint_ND, num_neighbours + 1)  # the first is the row itself
    return int(square_distance_NK[:, 1:].mean(axis=1).argmin())


def _kmeans(joint_ND: np.ndarray, num_clusters: int, seed: int) -> Any:
    import faiss

    # The minimum only silences a warning.
    kmeans = faiss.Kmeans(joint_ND.shape[1], num_clusters, seed=seed, min_points_per_centroid=1)
    kmeans.train(joint_ND)
    return kmeans


def _nearest_distinct(joint_ND: np.ndarray, vector_PD: np.ndarray) -> np.ndarray:
    """For each vector the nearest row that no vector before it has taken."""
    import faiss

    index = faiss.IndexFlatIP(joint_ND.shape[1])  # rows of unit norm: the same order as by distance
    index.add(joint_ND)
    _, near_PK = index.search(vector_PD, min(16, len(joint_ND)))
    taken: dict[int, None] = {}
    for place, near_K in enumerate(near_PK):
        if all(int(row) in taken for row in near_K):
            _, (near_K,) = index.search(vector_PD[place : place + 1], len(taken) + 1)
        taken[next(int(row) for row in near_K if int(row) not in taken)] = None
    return np.array(list(taken), np.int64)


# ---- facility location on dense similarities -------------------------------------------------------------------------


def apricot_facility_location(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Lazy greedy facility location of apricot (Schreiber et al. 2020) on dense kernels. The seed has no effect.

    It compiles its gain function anew in every call, some two seconds that are part of its time.
    """
    from apricot import FacilityLocationSelection

    similarity_NN = _dense_kernel(joint_ND, budget).astype(np.float64)
    selector = FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy")
    return np.asarray(selector.fit(similarity_NN).ranking, np.int64)


def submodlib_facility_location(joint_ND: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Lazy greedy facility location of submodlib (Kaushal et al. 2022) on dense kernels. The seed has no effect."""
    from submodlib import FacilityLocationFunction

    similarity_NN = _dense_kernel(joint_ND, budget)
    function = FacilityLocationFunction(n=len(joint_ND), mode="dense", sijs=similarity_NN, separate_rep=False)
    ranked = function.maximize(budget=budget, optimizer="LazyGreedy", show_progress=False)
    return np.array([row for row, _ in ranked], np.int64)


def _dense_kernel(joint_ND: np.ndarray, budget: int) -> np.ndarray:
    """exp((cos - 1) / h), h = mean distance (1 - cos) to the k-th neighbour, k = rows a pick: as in our objective."""
    num_rows = len(joint_ND)
    if num_rows > MAX_DENSE_ROWS:
        raise ValueError(f"{num_rows} rows: dense similarities are for pools of at most {MAX_DENSE_ROWS}")
    kernel_NN = joint_ND @ joint_ND.T
    rank = min(max(round(num_rows / budget), 3), num_rows // 4)
    place = num_rows - 1 - rank  # the row itself is the largest
    distance = [
        1 - np.partition(rows_NN, place)[:, place] for rows_NN in np.array_split(kernel_NN, -(-num_rows // 256))
    ]
    kernel_NN -= 1
    kernel_NN /= np.concatenate(distance).mean()
    return np.exp(kernel_NN, out=kernel_NN)


# ---- continuous optimisation -----------------------------------------------------------------------------------------


def activeft(
    joint_ND: np.ndarray, budget: int, seed: int, *, num_iterations: int = NUM_ACTIVEFT_ITERATIONS
) -> np.ndarray:
    """ActiveFT (Xie et al. 2023): the rows nearest to free vectors that are drawn to the pool and pushed apart.

    Loss, random start and parameters are those of the authors' code (its CIFAR script: Adam, lr .001, temperature .07,
    balance 1, 300 iterations over the whole pool). Batches over rows keep memory small and sum to the same gradient.
    Like that code it goes back through all similarities; through the largest ones alone would take 60% of the time.
    """
    import torch

    pool_ND = torch.from_numpy(joint_ND)
    start_P = np.random.default_rng(seed).choice(len(joint_ND), budget, replace=False)
    vector_PD = torch.nn.Parameter(pool_ND[torch.from_numpy(start_P)].clone())
    optimizer = torch.optim.Adam([vector_PD], lr=0.001)
    for _ in range(num_iterations):
        optimizer.zero_grad()
        _activeft_backward(pool_ND, vector_PD, temperature=0.07)
        optimizer.step()
    return _nearest_distinct(joint_ND, torch.nn.functional.normalize(vector_PD.detach(), dim=1).numpy())


def _activeft_backward(pool_ND: "torch.Tensor", vector_PD: "torch.Tensor", temperature: float) -> None:
    """Adds the gradient of the mean of -log(pull / (pull + push)) over the pool.

    pull = exp(similarity / temperature) to the closest vector, push = its sum from that vector to all, without the
    gradient of the others. Both go through leaves that gather the gradients of the batches.
    """
    import torch

    unit_PD = torch.nn.functional.normalize(vector_PD, dim=1)
    push_P = torch.logsumexp(unit_PD.detach() @ unit_PD.T / temperature, dim=0)
    unit_leaf_PD, push_leaf_P = unit_PD.detach().requires_grad_(), push_P.detach().requires_grad_()
    for rows_ND in pool_ND.split(ACTIVEFT_ROWS):
        pull_N, closest_N = (rows_ND @ unit_leaf_PD.T / temperature).max(dim=1)
        loss_N = torch.logaddexp(pull_N, push_leaf_P[closest_N]) - pull_N
        (loss_N.sum() / len(pool_ND)).backward()
    torch.autograd.backward([unit_PD, push_P], [unit_leaf_PD.grad, push_leaf_P.grad])
