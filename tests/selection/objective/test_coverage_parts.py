"""A mixed coverage: what its parts count, and its value from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.selection.numerics.kernel import ONE, kernel_block, make_kernel
from mmcsal.selection.numerics.quantize import JOINT_UNIT, UNIT, quantize_joint
from mmcsal.selection.objective.coverage_parts import (
    JOINT,
    CoverageParts,
    Part,
    joint_coverage,
    largest_kernels,
    part_weights,
    square_blocks,
    stacked,
)
from mmcsal.selection.solvers.dense_greedy import lazy_greedy

WIDTHS = (5, 8)


def parts_of(weights):
    kernels = [make_kernel(int(h)) for h in (UNIT**2 / 5, JOINT_UNIT**2 / 4, JOINT_UNIT**2 / 8)]
    columns = (None, (0, WIDTHS[0]), (WIDTHS[0], sum(WIDTHS)))
    parts = zip((JOINT, "video", "audio"), columns, kernels, weights, strict=True)
    return CoverageParts(tuple(Part(*part) for part in parts))


def rows_of(seed, num_rows=14):
    rng = np.random.default_rng(seed)
    centres = [rng.normal(size=(4, d)) for d in WIDTHS]
    views = [c[rng.integers(0, 4, num_rows)] + 0.4 * rng.normal(size=(num_rows, c.shape[1])) for c in centres]
    return quantize_joint(*views)


def value(joint_ND, coverage, picks):
    """The mixed coverage of a set of picks in Python integers: each part by its own product of its own columns."""
    total = 0
    for part in coverage.parts:
        first, stop = part.columns or (0, sum(WIDTHS))
        x_ND = joint_ND[:, first:stop].astype(np.int64)
        distance_NN = ((x_ND[:, None] - x_ND[None]) ** 2).sum(axis=2) // 2
        place_NN = np.minimum(distance_NN >> part.kernel.shift, len(part.kernel.table_T) - 1)
        kernel_NN = part.kernel.table_T[place_NN].astype(int)
        total += part.weight * sum(max((int(kernel_NN[n, p]) for p in picks), default=0) for n in range(len(x_ND)))
    return total


@pytest.mark.parametrize("rho", [0, 0.05, 0.3, 0.5, 0.95])
def test_weights_are_those_asked_for(rho):
    joint, first, second = np.array(part_weights(rho, [1, 1])) / 240
    assert joint == pytest.approx(rho)
    assert first == second == pytest.approx((1 - rho) / 2)
    joint, first, second = np.array(part_weights(rho, [3, 1])) / 240
    assert joint + first + second == pytest.approx(1)
    assert first == pytest.approx(0.75 * (1 - rho), abs=0.003)
    assert part_weights(rho, [1, 0])[2] == 0


def test_all_shared_is_one_part_that_counts_once():
    assert part_weights(1.0, [1, 3]) == (1,)
    coverage = joint_coverage(make_kernel(1000))
    assert (coverage.unit, coverage.counted.tolist()) == (1, [0])
    assert coverage.mean(np.array([[0.25], [0.5]])).tolist() == [0.25, 0.5]


def test_a_joint_part_that_counts_nothing_is_held_where_redundancy_needs_it():
    coverage = parts_of((0, 200, 40))
    assert coverage.needed(with_joint=False).tolist() == [1, 2]
    assert coverage.needed(with_joint=True).tolist() == [0, 1, 2]
    assert coverage.by_name([1.0, 2.0, 3.0]) == {"video": 2.0, "audio": 3.0}
    assert coverage.mean(np.array([9.0, 1.0, 4.0])) == pytest.approx((200 + 4 * 40) / 240)


def test_blocks_are_the_kernels_of_the_parts():
    joint_ND, coverage = rows_of(0), parts_of((80, 80, 80))
    blocks = np.split(square_blocks(joint_ND, coverage.parts), 3, axis=1)
    largest_NU = largest_kernels(joint_ND, joint_ND[:3], coverage)
    for u, part in enumerate(coverage.parts):
        x_ND = part.of(joint_ND)
        assert np.array_equal(blocks[u], kernel_block(x_ND, x_ND, part.kernel))
        assert np.array_equal(largest_NU[:, u], blocks[u][:, :3].max(axis=1))
    assert not largest_kernels(joint_ND, joint_ND[:0], coverage).any()
    assert stacked(largest_NU).tolist() == largest_NU.T.reshape(-1).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(120, 60, 60), (0, 120, 120), (0, 240, 0), (24, 6, 210)]))
def test_it_is_monotone_and_submodular(seed, weights):
    joint_ND, coverage = rows_of(seed), parts_of(weights)
    order = np.random.default_rng(seed).permutation(len(joint_ND)).tolist()
    new, large = order[0], order[1:]
    gains = [value(joint_ND, coverage, [*some, new]) - value(joint_ND, coverage, some) for some in (large[:5], large)]
    assert gains[0] >= gains[1] >= 0


@pytest.mark.parametrize("weights", [(120, 60, 60), (0, 120, 120), (24, 6, 210)])
def test_greedy_takes_what_adds_most_by_all_parts(weights):
    joint_ND, coverage = rows_of(3, 24), parts_of(weights)
    picks, gains = [], []
    for _ in range(8):
        gain = {
            c: value(joint_ND, coverage, [*picks, c]) - value(joint_ND, coverage, picks)
            for c in range(24)
            if c not in picks
        }
        picks.append(max(gain, key=lambda c: (gain[c], -c)))
        gains.append(gain[picks[-1]])
    used_U = coverage.needed(with_joint=False)
    blocks = square_blocks(joint_ND, [coverage.parts[u] for u in used_U])
    found = lazy_greedy(
        blocks, np.arange(24), np.zeros(blocks.shape[1]), np.zeros(24), 8, part_weight_U=coverage.weight_U[used_U]
    )
    assert found.candidate_P.tolist() == picks
    assert found.gain_P.tolist() == gains
    assert sum(gains) <= 24 * ONE * 240
