"""The result of a selection: tables, a summary, and answers to "why this one?"."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.selection import SELECTION
from mmcsal.contracts.table import conform
from mmcsal.selection import explain
from mmcsal.selection.alignment import alignment_of
from mmcsal.selection.bag import Candidates, Plan, Represented
from mmcsal.selection.kernel import ONE, kernel_of
from mmcsal.selection.merge import candidate_table
from mmcsal.selection.objective import closest_before, evaluate, largest_kernel, random_equivalent_budget
from mmcsal.selection.quantize import UNIT
from mmcsal.selection.shard import Sample
from mmcsal.selection.spec import SelectSpec

MAX_EVALUATED_ROWS = 2048


@dataclass(frozen=True)
class Selection:
    """The ranked batch, and why each sample is in it."""

    table: pa.Table  # SELECTION; a prefix is a good selection of a smaller budget
    candidates: pa.Table  # CANDIDATE: what the cells proposed
    summary: dict[str, Any]  # what the selection is worth, and on what settings it rests
    # sample_id, represented_by (the nearest pick), kernel (to it), alignment; sorted by sample_id. None for pools of
    # more than two million rows; with very many rows a pick, only the rows that the solver saw.
    represented: pa.Table | None
    labeled: frozenset[str] = field(default_factory=frozenset)

    @property
    def sample_ids(self) -> list[str]:
        """The selected ids in the order of their ranks."""
        return self.table["sample_id"].to_pylist()

    def with_uris(self, uris: pa.Table) -> "Selection":
        """The same selection with the `uri` of each pick, from a table of `sample_id` and `uri`; null where unknown."""
        place = pc.call_function(
            "index_in", [self.table["sample_id"]], pc.SetLookupOptions(uris["sample_id"].combine_chunks())
        )
        column = self.table.schema.get_field_index("uri")
        picked = pc.take(uris["uri"], place).cast(pa.string())
        return replace(self, table=self.table.set_column(column, self.table.schema.field(column), picked))

    def explain(self, sample_id: str) -> str:
        """Why a sample was selected or not, as one sentence or two.

        Raises: InputError: the solver did not see this id.
        """
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
        last_gain = self.table["gain"][-1].as_py()
        return explain.why_not_selected(sample_id, seen, own_gain, last_gain, self.summary["align_threshold"])


@dataclass(frozen=True)
class Outcome:
    """What the solver leaves behind, from which the result is written."""

    spec: SelectSpec
    plan: Plan
    pool_hash_N: np.ndarray
    sample: Sample  # of the pool, and all labeled rows
    proposed: Candidates  # by the greedy in the cells
    final: Candidates  # the same, or after the exchange
    picked: np.ndarray  # places in `final`, in the order of ranks
    num_scored: int  # rows that the gains of `final` are sums over
    represented: list[Represented]
    seed: int


def make_selection(outcome: Outcome, labeled_ids: Sequence[str]) -> Selection:
    """Tables and summary of an outcome."""
    plan, final, picked = outcome.plan, outcome.final, outcome.picked
    facts = _facts(outcome)
    columns, summary = _columns(outcome, facts), _summary(outcome, facts)
    table = conform(pa.table(columns), SELECTION, name="selection")
    rows_each = len(outcome.pool_hash_N) / plan.num_rows
    candidates = candidate_table(outcome.proposed, rows_each=rows_each)
    summary["mean_gain"] = float(final.gain_C[picked].mean()) / (ONE * outcome.num_scored)
    return Selection(table, candidates, summary, _represented(outcome), frozenset(labeled_ids))


@dataclass(frozen=True)
class _Facts:
    """Of the picks in the order of their ranks."""

    joint_PD: np.ndarray
    alignment_P: np.ndarray
    mass_P: np.ndarray  # rows of the pool
    nearest_P: np.ndarray  # rank of the closest pick before it, -1 = none
    redundancy_P: np.ndarray  # uint16, the kernel to it


def _facts(outcome: Outcome) -> _Facts:
    parts = outcome.represented
    hash_R = np.concatenate([p.hash_P for p in parts])
    by_hash = np.argsort(hash_R)
    place = by_hash[np.searchsorted(hash_R[by_hash], outcome.final.hash_C[outcome.picked])]
    joint_PD = np.concatenate([p.joint_PD for p in parts])[place]
    score_P = np.concatenate([p.score_P for p in parts])[place]
    mass_P = np.concatenate([p.mass_P for p in parts])[place] * (len(outcome.pool_hash_N) / outcome.plan.num_routed)
    nearest_P, redundancy_P = closest_before(joint_PD, outcome.plan.kernel)
    return _Facts(joint_PD, alignment_of(score_P, outcome.plan.anchors), mass_P, nearest_P, redundancy_P)


def _columns(outcome: Outcome, facts: _Facts) -> dict[str, Any]:
    final, picked, low = outcome.final, outcome.picked, outcome.plan.align_threshold
    unit = float(ONE * outcome.num_scored)
    ids = final.ids.take(pa.array(picked))
    names: list[str] = ids.to_pylist()
    closest = [None if p < 0 else names[p] for p in facts.nearest_P]
    redundancy_P = facts.redundancy_P / ONE
    numbers = zip(facts.mass_P, facts.alignment_P, redundancy_P, closest, strict=True)
    num_pool = len(outcome.pool_hash_N)
    return {
        "rank": pa.array(np.arange(len(picked), dtype=np.int32)),
        "sample_id": ids,
        "gain": final.gain_C[picked] / unit,
        "coverage": final.coverage_C[picked] / unit,
        "alignment": facts.alignment_P,
        "redundancy": redundancy_P,
        "mass": facts.mass_P,
        "nearest_selected": pa.array(closest, pa.string()),
        "reason": [explain.pick_reason(m, num_pool, r, red, near, low) for m, r, red, near in numbers],
        "round": pa.array(np.zeros(len(picked), np.int32)),
    }


def _summary(outcome: Outcome, facts: _Facts) -> dict[str, Any]:
    plan, sample, num_pool = outcome.plan, outcome.sample, len(outcome.pool_hash_N)
    in_sample = sample.hash_N <= outcome.pool_hash_N[min(num_pool, MAX_EVALUATED_ROWS) - 1]
    rows_ND = sample.joint_ND[in_sample]
    base_N = largest_kernel(rows_ND, plan.labeled_LD, plan.kernel)
    terms = evaluate(
        rows_ND, facts.joint_PD, facts.alignment_P, facts.redundancy_P, plan.kernel,
        base_N=base_N, align_threshold=plan.align_threshold,
    )  # fmt: skip
    open_rows = ~np.isin(sample.hash_N, plan.labeled_hash_L)
    is_whole = len(sample.hash_N) == num_pool
    random = random_equivalent_budget(
        rows_ND,
        sample.joint_ND[open_rows if is_whole else open_rows & ~in_sample],
        plan.kernel,
        terms.coverage,
        num_pool=None if is_whole else num_pool,
        base_N=base_N,
        seed=outcome.seed,
    )
    return {
        "num_pool": num_pool,
        "num_labeled": len(plan.labeled_hash_L),
        "budget": plan.budget,
        "coverage": terms.coverage,
        "alignment": terms.alignment,
        "redundancy": terms.redundancy,
        "objective": terms.coverage + plan.lambda_align * terms.alignment - plan.lambda_div * terms.redundancy,
        "random_equivalent_budget": random.budget,
        "random_equivalent_is_bound": random.is_bound,
        "mean_alignment": float(facts.alignment_P.mean()),
        "separation": plan.anchors.separation,
        "lambda_align": plan.lambda_align,
        "lambda_div": plan.lambda_div,
        "align_threshold": plan.align_threshold,
        "bandwidth": plan.kernel.bandwidth / UNIT**2,
        "num_cells": len(np.unique(outcome.proposed.cell_C)),
        "num_candidates": len(outcome.proposed.hash_C),
        "num_rows_solved": plan.num_rows,
        "num_near_anchors": plan.anchors.num_near,
        "gain_unit": float(ONE * plan.num_rows),
        "seed": outcome.seed,
    }


def _represented(outcome: Outcome) -> pa.Table | None:
    if not any(len(p.row_ids) for p in outcome.represented):
        return None
    plan, ids, by, kernels, alignments = outcome.plan, [], [], [], []
    for part in outcome.represented:
        place = pa.array(part.row_pick_N, mask=part.row_pick_N < 0)
        ids.append(part.row_ids)
        by.append(pc.take(part.ids, place))
        kernels.append(np.where(part.row_pick_N < 0, 0, kernel_of(part.row_distance_N, plan.kernel)) / ONE)
        alignments.append(alignment_of(part.row_score_N, plan.anchors))
    return explain.represented_table(
        pa.concat_arrays(ids), pa.concat_arrays(by), np.concatenate(kernels), np.concatenate(alignments)
    )
