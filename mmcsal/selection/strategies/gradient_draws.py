"""k-means++ draws among gradients of the last layer, which are outer products: (error of a class) x (feature).

The product of two outer products is the product of the products of their factors, so the gradients themselves, as wide
as classes times features, are never made.
"""

import numpy as np

Factors = list[tuple[np.ndarray, np.ndarray]]  # (error_NY, feature_ND) of each part of the gradient


def draw_gradients(factors: Factors, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Rows: the longest gradient, then each with a chance that grows as its square distance to those before, int64.

    Where all gradients left are copies of drawn ones, the first of them.
    """
    norm_N = _products(factors, None)
    row = int(norm_N.argmax())
    rows, closest_N = [row], np.full(len(norm_N), np.inf)
    while len(rows) < num_draws:
        closest_N = np.minimum(closest_N, np.maximum(norm_N + norm_N[row] - 2 * _products(factors, row), 0))
        closest_N[row] = 0
        reached_N = np.cumsum(closest_N)
        if reached_N[-1] <= 0:
            left = np.setdiff1d(np.arange(len(norm_N)), rows)
            return np.array([*rows, *left[: num_draws - len(rows)]], np.int64)
        row = int(np.searchsorted(reached_N, rng.random() * reached_N[-1], side="right"))
        rows.append(row)
    return np.array(rows, np.int64)


def _products(factors: Factors, row: int | None) -> np.ndarray:
    """Of every gradient with the gradient of `row`, or with itself; float64 [N]."""
    total_N = np.zeros(len(factors[0][0]))
    for error_NY, feature_ND in factors:
        if row is None:
            total_N += np.square(error_NY).sum(axis=1) * np.square(feature_ND).sum(axis=1)
        else:
            total_N += (error_NY @ error_NY[row]) * (feature_ND @ feature_ND[row])
    return total_N
