import numpy as np
import pytest

from benchmarks import peers

NEEDS = {
    "random": (),
    "k_center": (),
    "faiss_kmeans": ("faiss",),
    "typiclust": ("faiss",),
    "activeft": ("faiss",),
    "apricot_facility_location": ("apricot",),
    "submodlib_facility_location": ("submodlib",),
}


def unit_rows(num_rows: int, seed: int = 0) -> np.ndarray:
    x_ND = np.random.default_rng(seed).normal(size=(num_rows, 8)).astype(np.float32)
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def peer(name: str) -> peers.Peer:
    for package in NEEDS[name]:
        pytest.importorskip(package)
    if name == "activeft":
        return lambda joint_ND, budget, seed: peers.activeft(joint_ND, budget, seed, num_iterations=3)
    return getattr(peers, name)


# apricot compiles in every call and submodlib imports slowly: the test below has them.
@pytest.mark.parametrize("name", [name for name in NEEDS if not name.endswith("facility_location")])
@pytest.mark.parametrize("budget", [1, 7, 60])
def test_picks_are_distinct_and_as_many_as_the_budget(name: str, budget: int) -> None:
    joint_ND = np.concatenate([unit_rows(40), unit_rows(20)])  # 20 rows twice
    picks_P = peer(name)(joint_ND, budget, 0)
    assert picks_P.dtype == np.int64
    assert picks_P.shape == (budget,)
    assert len(set(picks_P.tolist())) == budget
    assert picks_P.min() >= 0
    assert picks_P.max() < len(joint_ND)


def test_k_center_against_a_plain_loop() -> None:
    joint_ND = unit_rows(50)
    picks = [int(peers.k_center(joint_ND, 1, 3)[0])]
    while len(picks) < 10:
        farthest = [np.linalg.norm(joint_ND[picks].astype(float) - row, axis=1).min() for row in joint_ND.astype(float)]
        picks.append(int(np.argmax(farthest)))
    assert peers.k_center(joint_ND, 10, 3).tolist() == picks


def test_typiclust_starts_in_the_largest_cluster() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    label_N = np.repeat([0, 1, 2], [30, 60, 15])
    joint_ND = (np.eye(8)[label_N] + 0.05 * rng.normal(size=(len(label_N), 8))).astype(np.float32)
    joint_ND /= np.linalg.norm(joint_ND, axis=1, keepdims=True)
    assert label_N[peers.typiclust(joint_ND, 3, 0)].tolist() == [1, 0, 2]


@pytest.mark.parametrize("name", ["apricot_facility_location", "submodlib_facility_location"])
def test_facility_location_is_greedy_on_the_dense_kernel(name: str) -> None:
    method = peer(name)
    joint_ND, budget = unit_rows(60), 6
    kernel_NN = peers._dense_kernel(joint_ND, budget).astype(float)
    covered_N, picks = np.zeros(60), []
    for _ in range(budget):
        picks.append(int(np.maximum(kernel_NN, covered_N).sum(axis=1).argmax()))
        covered_N = np.maximum(covered_N, kernel_NN[picks[-1]])
    assert method(joint_ND, budget, 0).tolist() == picks


def test_dense_similarities_are_refused_for_large_pools() -> None:
    with pytest.raises(ValueError, match="at most 20000"):
        peers._dense_kernel(np.zeros((20_001, 1)), 10)


def test_activeft_gradient_is_that_of_the_whole_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    pool_ND = torch.from_numpy(unit_rows(64))
    vector_PD = torch.nn.Parameter(pool_ND[:5] * 1.5)
    unit_PD = torch.nn.functional.normalize(vector_PD, dim=1)
    pull_N, closest_N = (pool_ND @ unit_PD.T / 0.07).exp().max(dim=1)
    push_P = (unit_PD.detach() @ unit_PD.T / 0.07).exp().sum(dim=0)
    (-(pull_N / (pull_N + push_P[closest_N])).log().mean()).backward()
    expected_PD, vector_PD.grad = vector_PD.grad, None
    monkeypatch.setattr(peers, "ACTIVEFT_ROWS", 10)
    peers._activeft_backward(pool_ND, vector_PD, 0.07)
    torch.testing.assert_close(vector_PD.grad, expected_PD)
