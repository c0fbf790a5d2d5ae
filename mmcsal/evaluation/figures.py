"""The charts of an evaluation: trials in, PNG bytes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from mmcsal.evaluation.spec import BASELINE
from mmcsal.evaluation.statistics import Results, interval
from mmcsal.report.style import (
    BLUE,
    INK,
    LINE_COLORS,
    MUTED,
    POOL_GREY,
    horizontal_grid,
    new_figure,
    styled,
    to_png,
)

WIDTH_IN = 10.4
MAX_COLORED = len(LINE_COLORS)  # curves beyond the first ones are grey: more colours tell nobody anything


def curves_png(results: Results, strategies: Sequence[str]) -> bytes:
    """Accuracy by budget, the first strategies coloured, each with the 95% interval of its mean over seeds."""
    with styled():
        figure = new_figure(WIDTH_IN, 4.6)
        axes = figure.subplots()
        places = np.arange(len(results.budgets))  # budgets double or more from one to the next: even steps
        for number, name in reversed(list(enumerate(strategies))):
            points_BS = 100 * results.of(name)
            mean_B, half_B = points_BS.mean(axis=1), [interval(points_S) for points_S in points_BS]
            color = _color(number, name)
            axes.plot(places, mean_B, color=color, label=name, zorder=3 if number < MAX_COLORED else 2,
                      marker="o", markersize=4, linestyle="--" if name == BASELINE else "-")  # fmt: skip
            if number < MAX_COLORED:
                axes.fill_between(places, mean_B - half_B, mean_B + half_B, color=color, alpha=0.13, linewidth=0)
        axes.set_xticks(places, [budget_text(budget) for budget in results.budgets])
        axes.set(xlabel="budget", ylabel="accuracy in points")
        horizontal_grid(axes)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_png(figure)


def preferences_png(facts: dict[str, dict[str, Any]]) -> bytes:
    """What each strategy prefers to pick: classes from the commonest to the rarest, agreement, density.

    Args:
        facts: by strategy: `class_share` [C] of its picks, `agreement`, `density`; random picks stand for the pool.
    """
    names = list(facts)
    with styled():
        figure = new_figure(WIDTH_IN, max(3.2, 0.3 * len(names) + 1.2))
        classes, agreement, density = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
        order = np.argsort(-np.array(facts[BASELINE]["class_share"]), kind="stable")
        for number, name in list(enumerate(names))[:MAX_COLORED]:
            share_C = np.array(facts[name]["class_share"])[order]
            classes.plot(np.arange(1, len(share_C) + 1), share_C, color=_color(number, name), label=name,
                         linestyle="--" if name == BASELINE else "-")  # fmt: skip
        classes.set(title="Classes of the picks", xlabel="class, the commonest first", ylim=(0, None))
        classes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        classes.legend(fontsize=8)
        horizontal_grid(classes)
        _bars(agreement, names, [facts[n]["agreement"] for n in names], "Agreement", "less the pool's mean")
        _bars(density, names, [facts[n]["density"] - 0.5 for n in names], "Density", "less the pool's median")
        density.set_yticklabels([])
        return to_png(figure)


def budget_text(budget: float) -> str:
    """A share in percent, a count as it is."""
    return f"{budget:.3g}" if budget >= 1 else f"{100 * budget:.3g}%"


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], title: str, unit: str) -> None:
    axes.barh(names, values, color=[_color(number, name) for number, name in enumerate(names)], height=0.6)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
    axes.set(title=title, xlabel=unit)


def _color(number: int, name: str) -> str:
    if name == BASELINE:
        return INK
    return BLUE if number == 0 else LINE_COLORS[number] if number < MAX_COLORED else POOL_GREY
