import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mmcsal.tensors.kmeans import nearest_centres, spherical_kmeans


def blobs(num_rows: int = 600, num_clusters: int = 6, spread: float = 0.25, seed: int = 0):
    """Unit rows around well separated directions, and which direction each is from."""
    generator = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(num_clusters, 16, generator=generator), dim=1)
    class_N = torch.randint(0, num_clusters, (num_rows,), generator=generator)
    noise_ND = spread * torch.randn(num_rows, 16, generator=generator) / 4
    return F.normalize(directions[class_N] + noise_ND, dim=1), class_N


def test_separate_clusters_are_found():
    x_ND, class_N = blobs()
    cluster_N, similarity_N = nearest_centres(x_ND, spherical_kmeans(x_ND, 6))
    assert adjusted_rand_score(class_N, cluster_N) == 1.0
    assert similarity_N.min() > 0.8


def test_the_objective_is_that_of_scikit_learn():
    """On rows without clear clusters, where the start matters: no worse than the best of ten starts by 3%."""
    x_ND = F.normalize(torch.randn(500, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    _, own_N = nearest_centres(x_ND, spherical_kmeans(x_ND, 20, num_iterations=50))
    peer = KMeans(20, n_init=10, random_state=0).fit(x_ND.numpy())
    centres = peer.cluster_centers_ / np.linalg.norm(peer.cluster_centers_, axis=1, keepdims=True)
    peer_N = (x_ND.numpy() @ centres.T).max(axis=1)
    assert own_N.mean() >= 0.97 * peer_N.mean()


def test_centres_are_unit_means_of_their_rows():
    x_ND, _ = blobs(spread=1.5)
    centre_KD = spherical_kmeans(x_ND, 6, num_iterations=100)
    cluster_N, _ = nearest_centres(x_ND, centre_KD)
    means_KD = torch.stack([F.normalize(x_ND[cluster_N == k].mean(dim=0), dim=0) for k in range(6)])
    torch.testing.assert_close(centre_KD, means_KD, rtol=1e-4, atol=1e-5)


def test_equal_rows_leave_no_centre_undefined():
    """Duplicates empty all clusters but one; their centres must still be unit vectors."""
    x_ND = F.normalize(torch.ones(50, 4), dim=1)
    centre_KD = spherical_kmeans(x_ND, 5)
    torch.testing.assert_close(centre_KD.norm(dim=1), torch.ones(5))


def test_as_many_clusters_as_rows_and_more_than_rows():
    x_ND, _ = blobs(num_rows=7)
    _, similarity_N = nearest_centres(x_ND, spherical_kmeans(x_ND, 7))
    torch.testing.assert_close(similarity_N, torch.ones(7))
    with pytest.raises(ValueError, match="K <= N"):
        spherical_kmeans(x_ND, 8)
