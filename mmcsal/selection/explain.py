"""Sentences that say why a sample was selected, or why not."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.selection.objective.alignment import NEUTRAL_R
from mmcsal.selection.objective.coverage_parts import JOINT

NEAR_DUPLICATE = 0.98  # kernel from which a sample adds next to nothing
BY_PART = {
    JOINT: "in both modalities",
    "video": "by its picture",
    "image": "by its picture",
    "audio": "by its sound",
}
WELL_SEPARATED = 0.85  # from which the share of mispaired pairs is an estimate; below it is a bound
CLOSE = 0.8  # kernel from which two samples are called close


def pick_reason(
    mass_by_part: dict[str, float],
    share: float,
    alignment: float,
    redundancy: float,
    nearest: str | None,
    runner_up: str | None,
    *,
    low: float,
    duplicate: float,
    is_included: bool = False,
) -> str:
    """Why a pick is in the batch: what it stands for, whether its modalities agree, what it lies close to.

    Args:
        mass_by_part: the rows that it stands for, by each part of the coverage that counts.
        share: of the pool, what it stands for in all.
    """
    parts = [f"Stands for {_masses(mass_by_part)} ({share:.2%} of the pool)", _agreement(alignment, low)]
    if is_included:
        parts.insert(0, "In the batch because it was asked for (select.include)")
    if nearest is not None and redundancy >= duplicate:
        parts.append(f"a near-duplicate of {nearest!r} (kernel {redundancy:.2f}), taken because nothing else was left")
    elif nearest is not None and redundancy >= CLOSE:
        parts.append(f"close to {nearest!r} (kernel {redundancy:.2f}), which was taken before it")
    if runner_up is not None:
        parts.append(f"the next best in its place is {runner_up!r}")
    return "; ".join(parts) + "."


def why_selected(row: dict) -> str:
    """The sentence on a row of the SELECTION table."""
    return f"{row['sample_id']!r} was selected at rank {row['rank']}, gain {row['gain']:.3g}. {row['reason']}"


def why_not_selected(sample_id: str, row: dict, own_gain: float | None, *, is_runner_up: bool, low: float) -> str:
    """The sentence on a sample of the pool that was not selected.

    Args:
        row: of the `represented` table.
        own_gain: its gain where a cell proposed it, else None.
        is_runner_up: whether it would replace the pick that covers it.
    """
    parts = [f"{sample_id!r} was not selected"]
    if row["represented_by"] is not None:
        parts.append(f"the nearest selected sample is {row['represented_by']!r} (kernel {row['kernel']:.2f})")
    if is_runner_up:
        parts.append("it is the runner-up of that pick")
    if row["kernel"] >= NEAR_DUPLICATE:
        parts.append("as a near-duplicate of it, it would add next to nothing")
    elif own_gain is not None:
        parts.append(f"its cell proposed it with gain {own_gain:.3g}, and the batch without it covers more")
    else:
        parts.append("other samples of its cell covered more of the pool, and it was not proposed")
    return "; ".join([*parts, _agreement(row["alignment"], low)]) + "."


def represented_table(
    ids: pa.Array, by_part: dict[str, pa.Array], kernel_NU: np.ndarray, alignment_N: np.ndarray
) -> pa.Table:
    """Which pick stands for each row of the pool, sorted by sample_id: the closest by any part of the coverage.

    Args:
        by_part: the closest pick by each part that counts.
        kernel_NU: to it.
    """
    closest_N = kernel_NU.argmax(axis=1)
    by = pc.call_function("choose", [pa.array(closest_N), *by_part.values()])
    columns = {"sample_id": ids, "represented_by": by, "kernel": kernel_NU.max(axis=1), "alignment": alignment_N}
    if len(by_part) > 1:
        for u, (name, by_name) in enumerate(by_part.items()):
            columns |= {f"represented_by_{name}": by_name, f"kernel_{name}": kernel_NU[:, u]}
    return pa.table(columns).sort_by("sample_id")


def mispaired_sentence(share: float, num_pairs: int, *, separation: float | None, lambda_align: float) -> str:
    """How many pairs look mispaired, how sure that is, and what it does to the batch.

    Args:
        separation: of own pairs from such that do not belong together; None = there were none to compare with.
    """
    if separation is None:
        return f"How many of {num_pairs:,} pairs are mispaired is unknown: scores came without a null sample."
    is_sure = separation >= WELL_SEPARATED
    told = f"{'About' if is_sure else 'At most'} {share:.0%} of {num_pairs:,} pairs look mispaired"
    how = "are told from decoys" if is_sure else "are hard to tell from decoys, so this is a bound"
    effect = "they are picked last" if lambda_align > 0 else "alignment does not steer this batch"
    return f"{told}; pairs {how} (separation {separation:.2f}); {effect}."


def find(table: pa.Table, sample_id: str) -> dict | None:
    """The first row of this id."""
    place = pc.index(table["sample_id"], sample_id).as_py()
    return table.slice(place, 1).to_pylist()[0] if place >= 0 else None


def _masses(mass_by_part: dict[str, float]) -> str:
    if len(mass_by_part) == 1:
        return _count(next(iter(mass_by_part.values())))
    return ", ".join(f"{_count(mass)} {BY_PART.get(name, f'by its {name}')}" for name, mass in mass_by_part.items())


def _count(mass: float) -> str:
    rows = round(mass)
    return "itself alone" if rows <= 1 else f"{rows} samples"


def _agreement(alignment: float, low: float) -> str:
    if alignment == NEUTRAL_R:
        return "whether its modalities agree is unknown"
    if alignment < low:
        return f"its modalities disagree (alignment {alignment:.2f}, low below {low:.2f})"
    return f"its modalities agree (alignment {alignment:.2f})"
