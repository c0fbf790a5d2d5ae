"""The result of a selection: tables, a summary, and answers to "why this one?"."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import as_id
from mmcsal.contracts.reject import REJECT
from mmcsal.contracts.selection import CANDIDATE, SELECTION
from mmcsal.contracts.table import conform
from mmcsal.selection import display, explain
from mmcsal.selection.numerics.kernel import ONE
from mmcsal.selection.numerics.quantize import JOINT_UNIT, UNIT
from mmcsal.selection.objective.alignment import NEUTRAL, Anchors, alignment_of
from mmcsal.selection.objective.coverage_parts import CoverageParts, largest_kernels
from mmcsal.selection.objective.density_weights import row_weights
from mmcsal.selection.objective.evaluation import Evaluation, evaluate
from mmcsal.selection.objective.pair_scores import KnownScores
from mmcsal.selection.objective.terms import closest_before
from mmcsal.selection.planning import Planned
from mmcsal.selection.scaleout.buckets import Candidates
from mmcsal.selection.scaleout.neighbors import Shortlist
from mmcsal.selection.scaleout.plan import Plan
from mmcsal.selection.scaleout.request import Pool, Request
from mmcsal.selection.scaleout.shard import BadRow
from mmcsal.selection.scaleout.subproblem import RowAssignments, SubproblemSolution

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_EVALUATED_ROWS = 1024
LINEAR_WARNING = (
    "align_form=linear rewards easy samples over the whole range of alignment; it measured 3 to 24 points of accuracy "
    "below the default and is meant to compare with"
)


@dataclass(frozen=True)
class Selection:
    """The ranked batch, and why each sample is in it."""

    table: pa.Table  # SELECTION; a prefix is a good selection of a smaller budget
    candidates: pa.Table  # CANDIDATE: what the cells proposed
    summary: dict[str, Any]  # what the selection is worth, and on what settings it rests
    rejects: pa.Table  # REJECT: rows that were left out because of their vectors
    # sample_id, represented_by (the nearest pick), kernel (to it), alignment; sorted by sample_id. None for pools of
    # more than two million rows; with very many rows a pick, only the rows that the solver saw.
    represented: pa.Table | None
    evaluation: Evaluation
    labeled: frozenset[str] = field(default_factory=frozenset)

    def __repr__(self) -> str:
        return f"<{display.as_line(self.summary)}>"

    def _repr_html_(self) -> str:
        return display.as_html(self.table, self.summary)

    @property
    def sample_ids(self) -> list[str]:
        """The selected ids in the order of their ranks."""
        return self.table["sample_id"].to_pylist()

    def to_pandas(self) -> "DataFrame":
        """`table` as a pandas DataFrame.

        Raises:
            ModuleNotFoundError: pandas is not installed; it comes with the extra `notebook`.
        """
        return display.as_pandas(self.table)

    def with_uris(self, uris: pa.Table) -> "Selection":
        """The same selection with the `uri` of each pick, from a table of `sample_id` and `uri`; null where unknown."""
        place = pc.call_function(
            "index_in", [self.table["sample_id"]], pc.SetLookupOptions(uris["sample_id"].combine_chunks())
        )
        column = self.table.schema.get_field_index("uri")
        picked = pc.take(uris["uri"], place).cast(pa.string())
        return replace(self, table=self.table.set_column(column, self.table.schema.field(column), picked))

    def explain(self, sample_id: str | int) -> str:
        """Why a sample was selected or not, as one sentence or two.

        Args:
            sample_id: as `select_pairs` took it; an integer stands for its decimal digits.

        Raises:
            InputError: the solver did not see this id, or it is neither a string nor an integer.
        """
        sample_id = as_id(sample_id, what="explain")
        row = explain.find(self.table, sample_id)
        if row is not None:
            return explain.why_selected(row)
        if sample_id in self.labeled:
            return f"{sample_id!r} was not selected; it is labeled already, and covers what lies around it."
        seen = explain.find(self.represented, sample_id) if self.represented is not None else None
        if seen is None:
            raise InputError(f"explain: {sample_id!r} is not selected and not among the rows whose answer was kept")
        candidate = explain.find(self.candidates, sample_id)
        own_gain = candidate["gain"] / self.summary["gain_unit"] if candidate else None
        pick = explain.find(self.table, seen["represented_by"]) if seen["represented_by"] is not None else None
        is_runner_up = pick is not None and pick["runner_up"] == sample_id
        return explain.why_not_selected(
            sample_id, seen, own_gain, is_runner_up=is_runner_up, low=self.summary["align_threshold"]
        )


@dataclass(frozen=True)
class SolverOutcome:
    """What the solver leaves behind, from which the result is written."""

    planned: Planned
    pool: Pool
    proposed: Candidates  # by the cells
    shortlist: Shortlist
    solved: list[SubproblemSolution]
    bad_rows: list[BadRow]


@dataclass(frozen=True)
class _Picks:
    """The picks in the order of their ranks."""

    place_P: np.ndarray  # in the shortlist
    gain_P: np.ndarray
    coverage_P: np.ndarray
    mass_PU: np.ndarray
    runner_up_P: np.ndarray
    joint_PD: np.ndarray
    score_P: np.ndarray
    nearest_P: np.ndarray  # rank of the closest pick before it, -1 = none
    redundancy_P: np.ndarray  # uint16, the kernel to it


def make_selection(outcome: SolverOutcome, request: Request) -> Selection:
    """Tables and summary of an outcome."""
    picks = _merged(outcome)
    evaluation = _evaluation(outcome, picks)
    table = conform(pa.table(_columns(outcome, picks)), SELECTION, name="selection")
    rejects = [(r.sample_id, None, "select", r.reason.value, r.detail) for r in outcome.bad_rows]
    return Selection(
        table=table,
        candidates=_candidate_table(outcome),
        summary=_summary(outcome, picks, evaluation),
        rejects=pa.Table.from_pylist([dict(zip(REJECT.names, row, strict=True)) for row in rejects], schema=REJECT),
        represented=_represented(outcome),
        evaluation=evaluation,
        labeled=frozenset({*request.labeled, *request.spec.labeled}),
    )


def _merged(outcome: SolverOutcome) -> _Picks:
    """One batch of all subproblems: by gain per cost, as inside of each."""
    solved, shortlist, plan = outcome.solved, outcome.shortlist, outcome.planned.plan
    names = ("pick_P", "gain_P", "coverage_P", "mass_PU", "runner_up_P")
    arrays = [np.concatenate([getattr(s, name) for s in solved]) for name in names]
    if len(solved) > 1:
        key_P = arrays[1] / plan.attributes.costs(shortlist.hash_C[arrays[0]])
        order = np.lexsort((arrays[0], -key_P))  # places are in the order of ids
        arrays = [array[order] for array in arrays]
    place_P, gain_P, coverage_P, mass_PU, runner_up_P = arrays
    joint_PD = shortlist.joint_CD[place_P]
    nearest_P, redundancy_P = closest_before(joint_PD, plan.kernel)
    score_P = shortlist.score_C[place_P]
    return _Picks(
        place_P, gain_P, coverage_P, mass_PU, runner_up_P, joint_PD, score_P, nearest_P, redundancy_P
    )  # fmt: skip


def _columns(outcome: SolverOutcome, picks: _Picks) -> dict[str, Any]:
    plan, num_pool = outcome.planned.plan, len(outcome.pool.hash_N)
    unit = float(plan.objective.gain_unit(plan.scope.num_routed))
    ids = outcome.shortlist.ids.take(pa.array(picks.place_P))
    names: list[str] = ids.to_pylist()
    columns = {
        "rank": pa.array(np.arange(len(names), dtype=np.int32)),
        "sample_id": ids,
        "gain": picks.gain_P / unit,
        "coverage": picks.coverage_P / unit,
        "alignment": alignment_of(picks.score_P, plan.objective.scores),
        "redundancy": picks.redundancy_P / ONE,
    }
    mass_PU = picks.mass_PU / plan.objective.weight_unit * (num_pool / plan.scope.num_routed)
    closest = [None if p < 0 else names[p] for p in picks.nearest_P]
    runners_up = outcome.shortlist.ids.take(pa.array(picks.runner_up_P, mask=picks.runner_up_P < 0))
    costs = plan.attributes.costs(outcome.shortlist.hash_C[picks.place_P])
    return {
        **columns,
        "mass": plan.objective.coverage.mean(mass_PU),
        "nearest_selected": pa.array(closest, pa.string()),
        "runner_up": runners_up,
        "cost": pa.array(costs) if plan.attributes.cost_N is not None else pa.nulls(len(names), pa.float64()),
        "reason": _reasons(outcome, picks, columns, mass_PU, closest, runners_up),
        "round": pa.array(np.full(len(names), plan.spec.round, np.int32)),
    }


def _reasons(
    outcome: SolverOutcome, picks: _Picks, columns: dict[str, Any], mass_PU: np.ndarray, closest, runners_up: pa.Array
) -> list[str]:
    plan, num_pool = outcome.planned.plan, len(outcome.pool.hash_N)
    coverage = plan.objective.coverage
    is_included_P = np.isin(outcome.shortlist.hash_C[picks.place_P], plan.roles.forced_hash)
    masses, share_P = [coverage.by_name(mass_U) for mass_U in mass_PU.tolist()], coverage.mean(mass_PU) / num_pool
    facts = (masses, share_P, columns["alignment"], columns["redundancy"], closest, runners_up.to_pylist())
    return [
        explain.pick_reason(
            *of_pick,
            low=plan.objective.align_threshold,
            duplicate=plan.spec.duplicate_kernel,
            is_included=bool(is_included),
        )
        for *of_pick, is_included in zip(*facts, is_included_P, strict=True)
    ]


def _evaluation(outcome: SolverOutcome, picks: _Picks) -> Evaluation:
    plan, sample, num_pool = outcome.planned.plan, outcome.planned.sample, len(outcome.pool.hash_N)
    counting = np.flatnonzero(plan.attributes.weights(sample.hash_N) > 0)  # in the order of hashes
    counting = counting if len(counting) else np.arange(len(sample.hash_N))
    in_sample = np.isin(np.arange(len(sample.hash_N)), counting[:MAX_EVALUATED_ROWS])
    rows_ND = sample.joint_ND[in_sample]
    open_rows = ~np.isin(sample.hash_N, plan.roles.closed_hash)
    is_whole = len(sample.hash_N) == num_pool
    return evaluate(
        rows_ND,
        picks.joint_PD,
        sample.joint_ND[open_rows if is_whole else open_rows & ~in_sample],
        plan.objective.coverage,
        aligned_P=plan.objective.aligned(picks.score_P),
        redundancy_P=picks.redundancy_P,
        lambda_align=plan.objective.applied_lambda_align,
        lambda_div=plan.spec.lambda_div,
        num_pool=None if is_whole else num_pool,
        base_NU=largest_kernels(rows_ND, plan.labeled_LD, plan.objective.coverage),
        weight_N=_sample_weights(plan, sample.hash_N[in_sample], rows_ND),
        seed=plan.seed,
    )


def _sample_weights(plan: Plan, hash_N: np.ndarray, rows_ND: np.ndarray) -> np.ndarray | None:
    if plan.objective.weight_unit == 1:
        return None
    weight_N = row_weights(hash_N, rows_ND, plan.attributes, plan.tempering)
    return weight_N if weight_N.any() else None


def _summary(outcome: SolverOutcome, picks: _Picks, evaluation: Evaluation) -> dict[str, Any]:
    plan, solved = outcome.planned.plan, outcome.solved
    worth = asdict(evaluation)
    num_picks = len(picks.place_P)
    costs = plan.attributes.costs(outcome.shortlist.hash_C[picks.place_P])
    objective, gain_unit = evaluation.terms.objective, plan.objective.gain_unit(plan.scope.num_rows)
    scores = plan.objective.scores
    summary = {
        "num_pool": len(outcome.pool.hash_N),
        "num_labeled": len(plan.roles.labeled_hash_L),
        "budget": num_picks,
        **worth.pop("terms"),
        **_parts_summary(plan.objective.coverage, worth.pop("coverage_U"), plan.width_a),
        **worth,
        "mean_gain": float(picks.gain_P.mean()) / plan.objective.gain_unit(plan.scope.num_routed),
        "mean_alignment": float(alignment_of(picks.score_P, plan.objective.scores).mean()),
        "separation": plan.objective.scores.separation,
        "lambda_align": plan.spec.lambda_align,
        "applied_lambda_align": plan.objective.applied_lambda_align,
        "lambda_div": plan.spec.lambda_div,
        "align_threshold": plan.objective.align_threshold,
        "mispaired_share": plan.objective.scores.mispaired_share,
        "strategy": plan.spec.strategy.kind,
        "num_swaps": sum(s.num_swaps for s in solved),
        "swap_gain": sum(s.swap_gain for s in solved) / plan.objective.gain_unit(plan.scope.num_rows) / objective
        if objective
        else 0.0,
        "num_duplicates": int((picks.redundancy_P >= plan.objective.duplicate_kernel).sum()),
        "num_rejected": len({r.sample_id for r in outcome.bad_rows}),
        "num_cells": len(np.unique(outcome.proposed.cell_C)),
        "num_candidates": len(outcome.proposed.hash_C),
        "num_shortlisted": len(outcome.shortlist.hash_C),
        "num_rows_solved": plan.scope.num_rows,
        "num_near_anchors": scores.num_near if isinstance(scores, Anchors) else 0,
        "gain_unit": float(gain_unit),
        "seed": plan.seed,
    }
    if plan.attributes.cost_N is not None:
        summary["total_cost"] = float(costs.sum())
    if plan.spec.align_form == "linear" and plan.objective.applied_lambda_align > 0:
        summary["warning"] = LINEAR_WARNING
    if isinstance(scores, KnownScores):
        summary |= {"num_null": scores.num_null, "alignment_told": _told(outcome, scores)}
    return summary


def _told(outcome: SolverOutcome, scores: KnownScores) -> str:
    """How many pairs look mispaired, how sure that is, and what it does to the batch."""
    objective, num_known = outcome.planned.plan.objective, int((scores.score_N != NEUTRAL).sum())
    return explain.mispaired_sentence(
        scores.mispaired_share,
        num_known,
        separation=scores.separation if scores.num_null else None,
        lambda_align=objective.applied_lambda_align,
    )


def _parts_summary(coverage: CoverageParts, value_U: list[float], width_a: int) -> dict[str, Any]:
    """What coverage is made of; by part, what counts, and the bandwidth in units of 1 - cos."""
    units = [UNIT**2, JOINT_UNIT**2, JOINT_UNIT**2]
    counted = [(coverage.parts[u], value_U[u], units[u]) for u in coverage.counted]
    return {
        "bandwidth": coverage.joint.bandwidth / UNIT**2,
        "parts": {
            part.name: {
                "weight": part.weight / coverage.unit,
                "coverage": value,
                "bandwidth": part.kernel.bandwidth / unit,
            }
            for part, value, unit in counted
        },
    }


def _candidate_table(outcome: SolverOutcome) -> pa.Table:
    """The CANDIDATE table; masses are rows of the pool."""
    proposed, plan = outcome.proposed, outcome.planned.plan
    _, cell_C = np.unique(proposed.cell_C, return_inverse=True)
    mass_C = proposed.mass_C / plan.objective.coverage.unit * (len(outcome.pool.hash_N) / plan.scope.num_rows)
    columns = [cell_C, proposed.rank_C, proposed.ids, mass_C, proposed.gain_C]
    return pa.table([pa.array(c).cast(f.type) for c, f in zip(columns, CANDIDATE, strict=True)], schema=CANDIDATE)


def _represented(outcome: SolverOutcome) -> pa.Table | None:
    rows = [s.rows for s in outcome.solved]
    if not any(len(r.ids) for r in rows):
        return None
    ids = pa.concat_arrays([r.ids for r in rows])
    pick_NU, kernel_NU, score_N = (np.concatenate([getattr(r, n) for r in rows]) for n in _ANSWERS)
    kernel_NU = np.where(pick_NU < 0, 0, kernel_NU) / ONE
    objective = outcome.planned.plan.objective
    counted = objective.coverage.counted
    by = [pc.take(outcome.shortlist.ids, pa.array(pick_N, mask=pick_N < 0)) for pick_N in pick_NU.T[counted]]
    names = [objective.coverage.parts[u].name for u in counted]
    return explain.represented_table(
        ids, dict(zip(names, by, strict=True)), kernel_NU[:, counted], alignment_of(score_N, objective.scores)
    )


_ANSWERS: Sequence[str] = tuple(name for name in RowAssignments.__dataclass_fields__ if name != "ids")
