"""Every measure against values by hand, numpy or scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from mmcsal.metrics import (
    class_recall_at_1,
    cluster_nmi,
    effective_rank,
    knn_accuracy,
    linear_accuracy,
    mix,
    modality_gap,
    positive_pair_distance,
    prototype_usage,
    recall_at_1,
    retrieval_loss,
    uniformity,
)
from mmcsal.metrics.linear_probe import fit_logistic
from mmcsal.metrics.nmi import normalized_mutual_information
from mmcsal.training.embed import close_gap

torch.set_num_threads(1)


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_gap_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert modality_gap(a, a).item() == 0
    assert modality_gap(a, -a).item() == 2
    assert modality_gap(a, torch.tensor([[0.0, 1.0], [0.0, -1.0]])).item() == 1


def test_gap_of_one_distribution_is_near_its_floor():
    assert modality_gap(unit_rows(2000, 32, 0), unit_rows(2000, 32, 1)).item() == pytest.approx(
        (2 / 2000) ** 0.5, rel=0.3
    )


def test_shift_closes_the_gap_by_hand():
    """Two modalities at +-30 degrees: both move to the middle."""
    up, down = torch.tensor([[3**0.5 / 2, 0.5]]), torch.tensor([[3**0.5 / 2, -0.5]])
    centroids = {"video": up[0], "audio": down[0]}
    torch.testing.assert_close(close_gap(up, "video", centroids), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(close_gap(down, "audio", centroids), torch.tensor([[1.0, 0.0]]))


@given(n=st.integers(1, 30), d=st.integers(2, 8), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_retrieval_loss_equals_the_definition(n, d, seed):
    a, b = unit_rows(n, d, seed), unit_rows(n, d, seed + 1)
    logits = (a @ b.T).numpy() / 0.2
    rows = [np.log(np.exp(logits[i]).sum()) - logits[i, i] for i in range(n)]
    columns = [np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in range(n)]
    assert retrieval_loss(a, b).item() == pytest.approx(np.mean(rows + columns))
    shuffled = torch.randperm(n)
    assert retrieval_loss(a[shuffled], b[shuffled]).item() == pytest.approx(np.mean(rows + columns))


@given(n=st.integers(2, 30), d=st.integers(2, 8), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_pair_distance_and_uniformity_equal_their_definitions(n, d, seed):
    a, b = unit_rows(n, d, seed), unit_rows(n, d, seed + 1)
    x, y = a.numpy(), b.numpy()
    expected = np.mean([np.sum((p - q) ** 2) for p, q in zip(x, y, strict=True)])
    assert positive_pair_distance(a, b).item() == pytest.approx(expected)
    pairs = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(n) for j in range(n) if i != j]
    assert uniformity(a).item() == pytest.approx(np.log(np.mean(pairs)))
    assert -8 <= uniformity(a).item() <= 1e-12


@given(n=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_retrieval_and_mix_are_shares_that_ignore_the_order_of_pairs(n, seed):
    a, b = unit_rows(n, 4, seed), unit_rows(n, 4, seed + 1)
    labels = torch.arange(n) % 3
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for measure in (recall_at_1, mix, modality_gap, positive_pair_distance):
        torch.testing.assert_close(measure(a[shuffled], b[shuffled]), measure(a, b))
    expected = class_recall_at_1(a, b, labels)
    torch.testing.assert_close(class_recall_at_1(a[shuffled], b[shuffled], labels[shuffled]), expected)
    assert 0 <= recall_at_1(a, b) <= expected <= 1


def test_retrieval_by_hand():
    a = torch.eye(4)
    b = torch.eye(4)[[0, 1, 3, 2]]
    assert recall_at_1(a, b).item() == 0.5
    assert class_recall_at_1(a, b, torch.tensor([0, 0, 1, 1])).item() == 1.0
    assert class_recall_at_1(a, b, torch.tensor([0, 0, 1, 2])).item() == 0.5


def test_mix_of_apart_and_of_equal_modalities():
    a = F.normalize(unit_rows(200, 8, 0) * 0.1 + torch.eye(8, dtype=torch.float64)[0], dim=1)
    assert mix(a, -a).item() == 0
    assert mix(unit_rows(400, 8, 1), unit_rows(400, 8, 2)).item() == pytest.approx(0.5, abs=0.03)


def test_mix_by_hand_counts_itself_out():
    a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert mix(a, b, num_neighbours=1).item() == 1.0


def blobs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    centres = unit_rows(4, 6, 77)
    return centres[labels] + 0.5 * torch.randn(n, 6, generator=generator, dtype=torch.float64), labels * 10 + 3


def test_knn_equals_scikit_learn():
    (x, y), (xt, yt) = blobs(300, 0), blobs(200, 1)
    x, xt = F.normalize(x, dim=1), F.normalize(xt, dim=1)
    expected = KNeighborsClassifier(1).fit(x, y).score(xt, yt)
    assert knn_accuracy(x, y, xt, yt, num_neighbours=1).item() == pytest.approx(expected)
    expected = KNeighborsClassifier(5).fit(x, y).score(xt, yt)
    assert knn_accuracy(x, y, xt, yt).item() == pytest.approx(expected, abs=0.03)  # ties are broken otherwise there


def test_knn_tie_goes_to_the_nearest():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    test = F.normalize(torch.tensor([[1.0, 0.2]]), dim=1)
    for labels in ([5, 9], [9, 5]):
        y = torch.tensor(labels)
        assert knn_accuracy(train, y, test, y[:1], num_neighbours=2).item() == 1.0


def test_linear_probe_equals_scikit_learn():
    (x, y), (xt, yt) = blobs(300, 0), blobs(200, 1)
    l2 = 1e-2
    reference = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, max_iter=2000).fit(x, y)
    weight, _, classes = fit_logistic(x, y, l2=l2)
    assert classes.tolist() == reference.classes_.tolist()
    np.testing.assert_allclose(weight.T.numpy(), reference.coef_, atol=1e-4)
    assert linear_accuracy(x, y, xt, yt, l2=l2).item() == pytest.approx(reference.score(xt, yt))


def test_linear_probe_works_where_gradients_are_off():
    x, y = blobs(60, 0)
    with torch.no_grad():
        assert linear_accuracy(x, y, x, y).item() > 0.7


def test_prototype_usage_by_hand():
    prototypes = torch.eye(4)
    assert prototype_usage(torch.eye(4), prototypes).item() == pytest.approx(1.0)
    assert prototype_usage(torch.eye(4)[[0, 0]], prototypes).item() == pytest.approx(0.25)
    assert prototype_usage(torch.eye(4)[[0, 1]], prototypes).item() == pytest.approx(0.5)


@pytest.mark.parametrize("measure", [modality_gap, positive_pair_distance, recall_at_1, mix])
def test_what_is_no_pair_is_refused(measure):
    for a, b in (
        (torch.ones(3, 2), torch.ones(2, 2)),
        (torch.ones(0, 2), torch.ones(0, 2)),
        (torch.ones(3), torch.ones(3)),
    ):
        with pytest.raises(ValueError, match="equal shapes"):
            measure(a, b)


def test_labels_that_do_not_fit_are_refused():
    x = torch.ones(3, 2)
    for labels in (torch.zeros(2, dtype=torch.long), torch.zeros(3)):
        with pytest.raises(ValueError, match="integer labels"):
            knn_accuracy(x, labels, x, labels)
        with pytest.raises(ValueError, match="integer labels"):
            linear_accuracy(x, labels, x, labels)
        with pytest.raises(ValueError, match="integer labels"):
            class_recall_at_1(x, x, labels)
    with pytest.raises(ValueError, match="N >= 2"):
        uniformity(x[:1])
    with pytest.raises(ValueError, match="prototypes"):
        prototype_usage(x[:0], x)


def test_effective_rank_by_hand():
    line = F.normalize(torch.stack((torch.linspace(-1, 1, 50), torch.ones(50) * 1e-9), dim=1), dim=1)
    assert effective_rank(line).item() == pytest.approx(1.0, abs=1e-6)
    square = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert effective_rank(square).item() == pytest.approx(2.0)
    assert effective_rank(torch.ones(5, 3)).item() == pytest.approx(1.0)
    assert 30 < effective_rank(unit_rows(4000, 32, 0)).item() <= 32
    with pytest.raises(ValueError, match="N >= 2"):
        effective_rank(torch.ones(1, 3))


@given(n=st.integers(2, 60), a=st.integers(1, 6), b=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_mutual_information_equals_scikit_learn(n, a, b, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, a, n), rng.integers(0, b, n)
    expected = normalized_mutual_info_score(x, y)
    found = normalized_mutual_information(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert found == pytest.approx(expected, abs=1e-9)


def test_clusters_that_are_the_classes_have_an_nmi_of_one_and_noise_has_little():
    directions = unit_rows(5, 16, 0)
    labels = torch.arange(200) % 5
    near = F.normalize(directions[labels] + 0.05 * unit_rows(200, 16, 1), dim=1)
    assert cluster_nmi(near, labels).item() == pytest.approx(1.0)
    assert cluster_nmi(unit_rows(200, 16, 2), labels).item() < 0.2
