"""Makes the plan of a selection from small samples of the pool, which a runner brings here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcsal.contracts.errors import InputError
from mmcsal.selection.numerics.bandwidth import merge_bandwidth, nearest_references, neighbour_rank, sample_sizes
from mmcsal.selection.numerics.kernel import make_kernel
from mmcsal.selection.objective.alignment import MISPAIRED_RANGE, Anchors, confidence, fit_anchors, threshold_of
from mmcsal.selection.objective.coverage_parts import (
    JOINT,
    Columns,
    CoverageParts,
    Part,
    columns_of,
    largest_kernels,
    part_weights,
)
from mmcsal.selection.objective.density_weights import WEIGHT_UNIT, Tempering, fit_tempering, row_weights
from mmcsal.selection.objective.pair_scores import RISING, KnownScores, fit_pair_scores
from mmcsal.selection.objective.sharing import joint_share
from mmcsal.selection.objective.terms import ONE, Objective
from mmcsal.selection.runner import Runner
from mmcsal.selection.scaleout.buckets import MAX_TRAIN_ROWS
from mmcsal.selection.scaleout.cell_tree import CellMap, Tree, fit_tree, make_cell_map
from mmcsal.selection.scaleout.plan import Plan, Scope
from mmcsal.selection.scaleout.ranking_sample import RankingSample, ranking_sample_size
from mmcsal.selection.scaleout.request import Pool, Request
from mmcsal.selection.scaleout.shard import PoolSample, Rows, ShardSummary, gather, merge_samples
from mmcsal.selection.solvers.dense_greedy import NOTHING
from mmcsal.selection.spec import Rho, SelectSpec
from mmcsal.selection.strategies import MmcsalSpec, Strategy

TRAIN_ROWS_PER_CELL, MIN_TRAIN_ROWS = 48, 4096  # of the tree
REFINED_ROWS = 8  # times the rows that the solver saw


@dataclass(frozen=True)
class Planned:
    """The plan, and the sample of the pool that it was fitted on."""

    plan: Plan
    sample: PoolSample


def make_plan(runner: Runner, request: Request, pool: Pool, summary: ShardSummary, *, seed: int) -> Planned:
    """Fits everything that the tasks of a selection share.

    Raises:
        InputError: more rows than the strategy can compare; a score that needs one space, and widths that differ;
            weights of modalities that there are not.
    """
    spec, width_a = request.spec, summary.widths[0]
    scope = _scope(spec.strategy, pool)
    sample = merge_samples(runner.over_shards(gather, pool.limit(MAX_TRAIN_ROWS), pool.roles.labeled_hash_L))
    is_low = sample.hash_N <= np.uint64(pool.limit(spec.num_anchors))
    if pool.pair_scores is not None:
        scores = fit_pair_scores(pool.hash_N, pool.pair_scores, spec.align_calibration)
    else:
        scores = fit_anchors(
            sample.hash_N[is_low], sample.joint_ND[is_low], width_a,
            score=spec.embedding_score, calibration=spec.align_calibration,
        )  # fmt: skip
    coverage = _coverage(runner, spec, pool, sample, scope.num_rows, summary, scores.separation)
    in_pool = sample.hash_N <= np.uint64(pool.limit(MAX_TRAIN_ROWS))
    tempering = fit_tempering(sample.joint_ND[in_pool], coverage.joint, spec.tempering) if spec.tempering else None
    labeled_LD = sample.joint_ND[np.isin(sample.hash_N, pool.roles.labeled_hash_L)]
    plan = Plan(
        spec=spec,
        seed=seed,
        width_a=width_a,
        objective=_objective(spec, pool, coverage, scores),
        cells=_cells(spec.strategy, pool, sample, scope),
        scope=scope,
        roles=pool.roles,
        labeled_LD=labeled_LD,
        wanted_hash=pool.wanted_hash(),
        attributes=pool.attributes,
        tempering=tempering,
        limits=pool.limits,
        ranking_sample=_ranking_sample(pool, sample, coverage, labeled_LD, tempering),
        classifier=request.classifier,
    )
    return Planned(plan, sample)


def _scope(strategy: Strategy, pool: Pool) -> Scope:
    """All rows; of very many rows a pick those of lowest hash, and some more for the medoid refinement.

    Raises:
        InputError: more rows than the strategy can compare.
    """
    num_rows = num_routed = len(pool.hash_N)
    num_covering = pool.num_covering
    if isinstance(strategy, MmcsalSpec):
        if num_rows > strategy.max_rows_per_pick * num_covering:
            num_rows = max(strategy.max_rows_per_pick // 2, 1) * num_covering
            num_routed = min(REFINED_ROWS * num_rows, num_routed)
    elif num_rows > strategy.max_pool_size:
        raise InputError(
            f"select.strategy: {strategy.kind} compares all rows of a pool on one machine, and this one has "
            f"{num_rows}; use strategy.kind=mmcsal, or raise strategy.max_pool_size ({strategy.max_pool_size})"
        )
    solve_limit = pool.limit(num_rows)
    return Scope(num_rows, max(pool.num_open(solve_limit), 1), num_routed, solve_limit, pool.limit(num_routed))


def _objective(spec: SelectSpec, pool: Pool, coverage: CoverageParts, scores: Anchors | KnownScores) -> Objective:
    trust = scores.trust if isinstance(scores, KnownScores) else confidence(scores.separation)
    trust = trust if spec.scale_by_confidence else 1.0
    between = RISING if isinstance(scores, KnownScores) else MISPAIRED_RANGE
    has_weights, given = pool.attributes.weight_N is not None or spec.tempering > 0, spec.align_threshold
    return Objective(
        coverage=coverage,
        scores=scores,
        align_form=spec.align_form,
        align_threshold=threshold_of(scores.mispaired_share, between) if given == "auto" else given,
        applied_lambda_align=spec.lambda_align * trust,
        lambda_div=spec.lambda_div,
        duplicate_kernel=round(spec.duplicate_kernel * ONE),
        weight_unit=WEIGHT_UNIT if has_weights else 1,
        num_picks=pool.limits.num_picks,
    )


def _cells(strategy: Strategy, pool: Pool, sample: PoolSample, scope: Scope) -> CellMap:
    """Cells of the size that the budget asks for; one cell of small pools, and of strategies that rank a whole pool."""
    has_cells, num_rows = isinstance(strategy, MmcsalSpec), scope.num_rows
    max_cell = (strategy if isinstance(strategy, MmcsalSpec) else MmcsalSpec()).max_cell_size
    cell_size = int(np.clip(4 * num_rows // pool.limits.num_picks, max_cell // 8, max_cell // 2))
    is_one_cell = num_rows <= max_cell or not has_cells
    return make_cell_map(
        _tree(pool, sample, num_rows, num_rows if is_one_cell else cell_size),
        scope.num_routed / num_rows,
        cell_size=cell_size,
        max_cell_size=max_cell if has_cells else num_rows,
        one_bucket=not has_cells,
    )


def _tree(pool: Pool, sample: PoolSample, num_rows: int, cell_size: int) -> Tree:
    num_train = min(max(TRAIN_ROWS_PER_CELL * num_rows // cell_size, MIN_TRAIN_ROWS), MAX_TRAIN_ROWS, num_rows)
    train = sample.hash_N <= np.uint64(pool.limit(num_train))
    return fit_tree(sample.joint_ND[train], num_rows=num_rows, cell_size=cell_size)


def _ranking_sample(
    pool: Pool, sample: PoolSample, coverage: CoverageParts, labeled_LD: np.ndarray, tempering: Tempering | None
) -> RankingSample:
    """The rows of lowest hash, as far as ranks need them."""
    rows = sample.hash_N <= np.uint64(pool.limit(ranking_sample_size(pool.limits.num_picks, len(pool.hash_N))))
    hash_R, joint_RD = sample.hash_N[rows], sample.joint_ND[rows]
    has_weights = pool.attributes.weight_N is not None or tempering is not None
    weight_R = row_weights(hash_R, joint_RD, pool.attributes, tempering) if has_weights else NOTHING
    return RankingSample(joint_RD, largest_kernels(joint_RD, labeled_LD, coverage), weight_R)


def _coverage(
    runner: Runner, spec: SelectSpec, pool: Pool, sample: PoolSample, num_rows: int, summary: ShardSummary,
    separation: float,
) -> CoverageParts:  # fmt: skip
    """The parts of the coverage, each with the bandwidth at which the picks share the pool."""
    width_a, width = summary.widths[0], sum(summary.widths)
    names = (JOINT, *summary.modalities)
    columns = (None, (0, width_a), (width_a, width))
    weights = part_weights(_rho(spec, separation), _modality_weights(spec, summary.modalities))
    bandwidths = _bandwidths(runner, pool, sample, num_rows, columns[: len(weights)])
    parts = zip(names, columns, bandwidths, weights, strict=False)
    return CoverageParts(tuple(Part(name, ends, make_kernel(h), weight) for name, ends, h, weight in parts))


def _rho(spec: SelectSpec, separation: float) -> float:
    if isinstance(spec.coverage, Rho):
        return spec.coverage.rho
    return {"auto": joint_share(separation), "joint": 1.0, "separate": 0.0}[spec.coverage]


def _modality_weights(spec: SelectSpec, modalities: tuple[str, str]) -> list[float]:
    """What each modality counts, in any unit.

    Raises:
        InputError: the names are not those of the modalities, or all weights are 0.
    """
    given = spec.modality_weights
    if isinstance(given, str):
        return [1.0, 1.0]
    if sorted(given) != sorted(modalities) or not any(given.values()):
        raise InputError(
            f"select.modality_weights: {given}; expected a number for each of {', '.join(modalities)}, one above 0"
        )
    return [given[modality] for modality in modalities]


def _bandwidths(runner: Runner, pool: Pool, sample: PoolSample, num_rows: int, columns: Sequence[Columns]) -> list[int]:
    """Of the kernels over these columns of the joint embedding."""
    rank = neighbour_rank(num_rows, pool.num_covering)
    num_queries, num_references, reference_rank = sample_sizes(num_rows, rank)
    queries = sample.hash_N <= np.uint64(pool.limit(num_queries))
    limit, query_AD, query_hash_A = pool.limit(num_references), sample.joint_ND[queries], sample.hash_N[queries]
    found = runner.over_shards(_nearest_references, limit, query_AD, query_hash_A, reference_rank, columns)
    return [merge_bandwidth(best_by_shard, reference_rank) for best_by_shard in zip(*found, strict=True)]


def _nearest_references(
    rows: Rows, limit: int, query_AD: np.ndarray, query_hash_A: np.ndarray, rank: int, columns: Sequence[Columns]
) -> list[np.ndarray]:
    """What `nearest_references` finds by each of these columns."""
    below = rows.below(limit)
    reference_BD, reference_hash_B = rows.joint_ND[below], rows.hash_N[below]
    return [
        nearest_references(
            columns_of(reference_BD, ends), reference_hash_B, columns_of(query_AD, ends), query_hash_A, rank
        )
        for ends in columns
    ]
