"""Pools with two views of one latent class structure, and plain references to compare with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Views:
    a_ND: np.ndarray
    v_ND: np.ndarray
    is_misaligned_N: np.ndarray


def make_views(
    num_rows: int, *, seed: int = 0, misaligned: float = 0.0, num_classes: int = 30, width: int = 16
) -> Views:
    """A long-tailed mixture seen by two modalities (widths 24 and 40); some pairs have their second view shuffled."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, width))
    label_N = rng.choice(num_classes, num_rows, p=rng.dirichlet(np.full(num_classes, 0.7)))
    latent = centres[label_N] + 0.5 * rng.normal(size=(num_rows, width))
    views = [np.tanh(latent + 0.2 * rng.normal(size=latent.shape)) @ rng.normal(size=(width, d)) for d in (24, 40)]
    rows = np.flatnonzero(rng.random(num_rows) < misaligned)
    views[1][rows] = views[1][rng.permutation(rows)]
    is_misaligned_N = np.zeros(num_rows, bool)
    is_misaligned_N[rows] = True
    return Views(views[0].astype(np.float32), views[1].astype(np.float32), is_misaligned_N)


def joint_of(views: Views) -> np.ndarray:
    """The joint embedding in float64, [N, Da + Dv]."""
    parts = [
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        for x in (views.a_ND, views.v_ND)
    ]
    return np.concatenate(parts, axis=1) / np.sqrt(2)


def coverage_of(joint_ND: np.ndarray, picks: np.ndarray, bandwidth: float) -> float:
    """Mean largest kernel to the picks, in float64."""
    return float(np.exp((joint_ND @ joint_ND[picks].T - 1) / bandwidth).max(axis=1).mean())


def dense_greedy(joint_ND: np.ndarray, budget: int, bandwidth: float) -> np.ndarray:
    """Plain greedy on coverage alone, in floating point, every gain computed anew: the reference."""
    kernel_NN = np.exp((joint_ND @ joint_ND.T - 1) / bandwidth).astype(np.float32)
    covered_N, picks = np.zeros(len(joint_ND), np.float32), []
    for _ in range(budget):
        gain_N = np.maximum(kernel_NN, covered_N).sum(axis=1, dtype=np.float64)
        gain_N[picks] = -1
        picks.append(int(gain_N.argmax()))
        covered_N = np.maximum(covered_N, kernel_NN[picks[-1]])
    return np.array(picks)


@pytest.fixture(scope="session")
def views() -> Callable[..., Views]:
    return make_views


@pytest.fixture(scope="session")
def reference() -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray], Callable[..., float]]:
    """`joint_of`, `dense_greedy`, `coverage_of`."""
    return joint_of, dense_greedy, coverage_of
