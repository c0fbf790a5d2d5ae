"""The page of an evaluation: one offline HTML file with its table, its curves and what each strategy prefers."""

from typing import Any

import numpy as np
import pyarrow as pa

from mmcsal.evaluation.figures import budget_text, curves_png, preferences_png
from mmcsal.evaluation.spec import ABLATIONS, BASELINE, OURS
from mmcsal.evaluation.statistics import Results, difference, results_of
from mmcsal.evaluation.table import SIGNIFICANT, StrategyLine, lines_of, points_text
from mmcsal.report.templates import data_uri, templates

PICTURED_BUDGET = 0.05  # the one of the paper's figures; the nearest that there is


def render(trials: pa.Table, num_samples: int) -> bytes:
    """The page; the same trials give the same bytes.

    Args:
        trials: of the TRIAL schema, with the strategy `random`.
    """
    results = results_of(trials)
    lines = lines_of(results)
    pictured = min(results.budgets, key=lambda budget: abs(budget - PICTURED_BUDGET))
    names = [line.strategy for line in lines]
    images = {
        "curves": curves_png(results, names),
        "preferences": preferences_png(preferences_of(trials, names, pictured)),
    }
    context = {
        "lines": lines,
        "budgets": [budget_text(budget) for budget in results.budgets],
        "num_seeds": len(results.seeds),
        "num_samples": num_samples,
        "baseline": BASELINE,
        "verdict": verdict(results, lines),
        "ablations": ablations_of(results),
        "pictured": budget_text(pictured),
        "significant": SIGNIFICANT,
        "ours": OURS if OURS in results.strategies else None,
        "points_text": points_text,
        "images": {name: data_uri(png, "png") for name, png in images.items()},
    }
    return templates().get_template("evaluation.html.jinja").render(context).encode()


def verdict(results: Results, lines: list[StrategyLine]) -> str:
    """What the trials say of MMCSAL, in a sentence that claims no more than they show."""
    if OURS not in results.strategies:
        return f"{lines[0].strategy} has the best average rank of {len(lines)} strategies."
    place = [line.strategy for line in lines].index(OURS) + 1
    found = difference(results, OURS, BASELINE)
    rank = f"mmcsal is {_ordinal(place)} of {len(lines)} strategies by average rank; "
    if not found.p_value < SIGNIFICANT:
        return f"{rank}over all budgets it cannot be told from random picks ({points_text(found)} points)."
    way = "above" if found.mean > 0 else "below"
    return f"{rank}over all budgets it is {way} random picks by {points_text(found)} points."


def ablations_of(results: Results) -> list[tuple[str, list[str]]]:
    """What each part of the method is worth: mmcsal less mmcsal without it, by budget and over all of them."""
    parts = [contender.name for contender in ABLATIONS if contender.name in results.strategies]
    if OURS not in results.strategies:
        return []
    return [
        (name, [points_text(difference(results, OURS, name, budget)) for budget in (*results.budgets, None)])
        for name in parts
    ]


def preferences_of(trials: pa.Table, names: list[str], budget: float) -> dict[str, dict[str, Any]]:
    """By strategy, in the mean over seeds: shares of the classes among its picks, agreement and density."""
    rows = [row for row in trials.to_pylist() if row["budget"] == budget]
    facts = {}
    for name in names:
        mine = [row for row in rows if row["strategy"] == name]
        picks_SC = np.array([row["class_picks"] for row in mine], float)
        facts[name] = {
            "class_share": (picks_SC / picks_SC.sum(axis=1, keepdims=True)).mean(axis=0),
            **{key: float(np.mean([row[key] for row in mine])) for key in ("agreement", "density")},
        }
    return facts


def _ordinal(place: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(place, f"number {place}")
