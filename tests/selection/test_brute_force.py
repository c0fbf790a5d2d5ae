"""The whole of `select_pairs` against the best of all batches, in floating point."""

from itertools import combinations

import numpy as np
import pytest

from mmcsal import select_pairs
from mmcsal.selection import SelectSpec
from mmcsal.selection.spec import Rho

NUM_CASES, NUM_MIXED_CASES = 300, 60


def random_case(seed):
    """Two views, labeled rows, a budget and the weight of alignment."""
    rng = np.random.default_rng(seed)
    num_rows, budget = int(rng.integers(7, 12)), int(rng.integers(2, 5))
    latent = rng.normal(size=(4, 4))[rng.integers(0, 4, num_rows)] + rng.choice([0.2, 0.6, 1.5]) * rng.normal(
        size=(num_rows, 4)
    )
    noise = rng.choice([0.1, 1.0])
    a_ND, v_ND = (latent @ rng.normal(size=(4, d)) + noise * rng.normal(size=(num_rows, d)) for d in (5, 7))
    labeled = rng.choice(num_rows, rng.integers(0, 3), replace=False) if seed % 3 == 0 else np.zeros(0, int)
    return a_ND, v_ND, budget, labeled, float(rng.choice([0.0, 0.1, 0.25, 1.0]))


def kernels_of(a_ND, v_ND, parts):
    """Weight and K = exp((cos - 1) / h) of each part; the joint cosine is the mean of those of the modalities."""
    a_NN, v_NN = (x @ x.T for x in (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True) for x_ND in (a_ND, v_ND)))
    cosines = {"joint": (a_NN + v_NN) / 2, "a": a_NN, "v": v_NN}
    return [(part["weight"], np.exp((cosines[name] - 1) / part["bandwidth"])) for name, part in parts.items()]


def objective(kernels, aligned_N, picks, labeled, lambda_align):
    """f = Cov + lambda_align * Align."""
    coverage = sum(weight * kernel_NN[:, [*picks, *labeled]].max(axis=1).mean() for weight, kernel_NN in kernels)
    return coverage + lambda_align * aligned_N[list(picks)].mean()


@pytest.mark.parametrize(
    ("coverage", "num_cases"),
    [("joint", NUM_CASES), ("separate", NUM_MIXED_CASES), (Rho(rho=0.4), NUM_MIXED_CASES)],
    ids=["joint", "separate", "mixed"],
)
def test_selections_are_near_the_best_of_all_batches(coverage, num_cases):
    shares = []
    for seed in range(num_cases):
        a_ND, v_ND, budget, labeled, lambda_align = random_case(seed)
        spec = SelectSpec(lambda_align=lambda_align, scale_by_confidence=False, duplicate_kernel=1.0, coverage=coverage)
        selection = select_pairs(a_ND, v_ND, budget, labeled=[str(i) for i in labeled], config=spec)
        picks = [int(i) for i in selection.sample_ids]
        rows = {int(row["sample_id"]): row["alignment"] for row in selection.represented.to_pylist()}
        aligned_N = np.minimum(1, np.array([rows[n] for n in range(len(a_ND))]) / selection.summary["align_threshold"])
        kernels = kernels_of(a_ND, v_ND, selection.summary["parts"])
        rest = sorted(set(range(len(a_ND))) - set(labeled.tolist()))
        assert len(picks) == budget
        assert set(picks) <= set(rest)
        found, *others = (
            objective(kernels, aligned_N, s, labeled, lambda_align) for s in [picks, *combinations(rest, budget)]
        )
        assert abs(selection.summary["objective"] - found) < 0.005, seed  # the table of the kernel is off by .0037
        shares.append(found / max(others))
    worst, mean = min(shares), float(np.mean(shares))
    assert worst >= 0.97, f"least {worst:.4f} of the optimum, mean {mean:.5f}"
    assert mean >= 0.998, f"least {worst:.4f} of the optimum, mean {mean:.5f}"
