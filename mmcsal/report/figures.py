"""The charts of the report: plain values in, PNG bytes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from mmcsal.report.budget import BudgetCurves, coverage_at
from mmcsal.report.facts import BEFORE_TRAINING, MapPoints, RejectCount, Series
from mmcsal.report.style import (
    BLUE,
    GRID,
    INK,
    LINE_COLORS,
    MUTED,
    PAPER,
    POOL_GREY,
    VERMILION,
    horizontal_grid,
    new_figure,
    styled,
    to_png,
)
from mmcsal.report.words import number, spoken

WIDTH_IN = 10.4
MAP_WIDTH_IN = 7.0
NUM_NUMBERED_PICKS = 10
MAX_LOSS_PANELS = 12
# Without viridis' yellow end, which fades on white.
RANK_COLORS = LinearSegmentedColormap.from_list("ranks", colormaps["viridis"](np.linspace(0, 0.88, 256)))


def map_png(points: MapPoints) -> bytes:
    """The pool in grey, the picks coloured by rank, the first ones numbered."""
    with styled():
        figure = new_figure(MAP_WIDTH_IN, 6.4)
        axes = figure.subplots()
        dot_size = float(np.clip(12_000 / max(1, len(points.pool_N2)), 5, 20))
        axes.scatter(*points.pool_N2.T, s=dot_size, color=POOL_GREY, alpha=0.8, linewidths=0)
        last_first = np.argsort(-points.rank_P)  # the first picks are drawn on top
        numbers_P = points.rank_P[last_first] + 1
        dots = axes.scatter(
            *points.picks_P2[last_first].T,
            c=numbers_P,
            s=46 if len(numbers_P) <= 300 else 18,
            cmap=RANK_COLORS,
            norm=Normalize(1, max(2, numbers_P.max())),
            edgecolors=PAPER,
            linewidths=0.9,
        )
        for (x, y), pick in zip(points.picks_P2[last_first], numbers_P, strict=True):
            if pick <= NUM_NUMBERED_PICKS:
                _write_beside(axes, (x, y), (5, 4), str(pick), fontsize=8.5, weight="bold")
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.05)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(f"first principal component ({points.explained_2[0]:.0%} of the variance)")
        axes.set_ylabel(f"second principal component ({points.explained_2[1]:.0%})")
        if len(numbers_P) > 1:
            ends = [int(numbers_P.min()), int(np.median(numbers_P)), int(numbers_P.max())]
            bar = figure.colorbar(
                dots, ax=axes, location="top", shrink=0.45, aspect=30, pad=0.01, ticks=sorted(set(ends))
            )
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
            bar.set_label("order of labeling")
        return to_png(figure)


def _write_beside(axes: Axes, point: tuple[float, float], offset: tuple[float, float], text: str, **style: Any) -> None:
    """Text next to a point, the offset in points of print, with a halo that keeps it legible over lines."""
    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    axes.annotate(text, point, xytext=offset, textcoords="offset points", path_effects=halo, **style)


def losses_png(losses: Sequence[Series]) -> bytes:
    """One small panel a loss: their scales differ too much for one axis."""
    shown = losses[:MAX_LOSS_PANELS]
    num_columns = min(4, len(shown))
    num_rows = -(-len(shown) // num_columns)
    with styled():
        figure = new_figure(WIDTH_IN, 2.5 * num_rows + 0.2)
        panels = np.atleast_1d(figure.subplots(num_rows, num_columns)).ravel()
        stages = {series.stage for series in shown}
        for axes, series in zip(panels, shown, strict=False):
            _curve(axes, series, INK if series.name == "loss" else BLUE)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.set_title(series.name if len(stages) == 1 else f"{series.stage}: {series.name}")
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        return to_png(figure)


def gap_png(gaps: Sequence[Series], retrievals: Sequence[Series]) -> bytes:
    """The modality gap over epochs, and beside it how often the partner is found first, where it was measured."""
    groups = [
        (title, group)
        for title, group in (("Modality gap", gaps), ("How often a sample's own partner is the nearest", retrievals))
        if group
    ]
    with styled():
        figure = new_figure(WIDTH_IN, 3.4)
        panels = np.atleast_1d(figure.subplots(1, len(groups))).ravel()
        for axes, (title, group) in zip(panels, groups, strict=True):
            for color, series in zip(LINE_COLORS * len(group), group, strict=False):
                _curve(axes, series, color, label=spoken(series.name))
            axes.set_title(title)
            if len(group) > 1:
                axes.legend(loc="best", fontsize=8.5)
            if all(value >= 0 for series in group for value in series.values):
                axes.set_ylim(bottom=0)
        return to_png(figure)


def _curve(axes: Axes, series: Series, color: str, label: str | None = None) -> None:
    """A line over epochs that names its two ends; what was measured before training is a hollow point."""
    epochs, values = np.array(series.epochs), np.array(series.values)
    trained = epochs != BEFORE_TRAINING
    axes.plot(epochs, values, color=color, label=label, zorder=3)
    axes.plot(epochs[-1:], values[-1:], "o", color=color, markersize=5, zorder=4)
    if not trained.all():
        axes.plot(epochs[:1], values[:1], "o", color=color, markerfacecolor=PAPER, markersize=6.5, zorder=4)
    ends = {0: (4, 6, "left"), len(values) - 1: (-2, 7, "right")} if len(values) > 1 else {0: (0, 7, "center")}
    for index, (dx, dy, side) in ends.items():
        text, point = number(float(values[index])), (epochs[index], values[index])
        _write_beside(axes, point, (dx, dy), text, ha=side, fontsize=8.5, color=color, zorder=5)
    horizontal_grid(axes)
    axes.margins(x=0.04, y=0.16)
    _name_epochs(axes, series.epochs)


def _name_epochs(axes: Axes, epochs: Sequence[int]) -> None:
    last = max(epochs)
    ticks = [e for e in MaxNLocator(5, integer=True).tick_values(0, max(1, last)) if 0 <= e <= last]
    names = [f"{e:.0f}" for e in ticks]
    if BEFORE_TRAINING in epochs:
        crowded = last > 5  # "before" stands where epoch 0 would
        ticks, names = [BEFORE_TRAINING, *ticks[crowded:]], ["before", *names[crowded:]]
    axes.set_xticks(ticks, names)
    axes.set_xlabel("epoch")


def rejects_png(rejects: Sequence[RejectCount]) -> bytes:
    """How many samples were rejected, by reason."""
    counts = [r.count for r in rejects]
    with styled():
        figure = new_figure(WIDTH_IN, 0.34 * len(rejects) + 0.3)
        axes = figure.subplots()
        bars = axes.barh([r.reason.replace("_", " ") for r in rejects], counts, color=VERMILION, height=0.56)
        axes.bar_label(bars, labels=[f"{c:,}" for c in counts], padding=5, color=INK, fontsize=9.5)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.margins(x=0.08, y=0.02)
        return to_png(figure)


def budget_png(budget: BudgetCurves) -> bytes:
    """Coverage by the number of labels, of this selection and of random picks: where it flattens, labels add little."""
    with styled():
        figure = new_figure(WIDTH_IN, 3.6)
        axes = figure.subplots()
        axes.set_xlim(0, budget.axis_end * 1.03)
        labels, coverage = np.array(budget.curve).T
        axes.fill_between(labels, coverage, color=BLUE, alpha=0.08, linewidth=0)
        axes.plot(labels, coverage, color=BLUE, zorder=3)
        if budget.random_curve:
            axes.plot(*np.array(budget.random_curve).T, color=MUTED, linestyle=(0, (4, 2.5)), zorder=2.5)
        _mark_selection(axes, budget)
        _mark_knee(axes, budget)
        _mark_random_labels(axes, budget)
        horizontal_grid(axes)
        highest = max(budget.coverage, budget.coverage_random or 0, _random_top(budget))
        axes.set_ylim(0, highest * 1.14 if highest > 0 else 1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel="labels", ylabel="coverage of the pool")
        return to_png(figure)


def _random_top(budget: BudgetCurves) -> float:
    return coverage_at(budget.random_curve, budget.axis_end) if budget.random_curve else 0


def _mark_selection(axes: Axes, budget: BudgetCurves) -> None:
    """This selection, and as many random picks, on one line upwards; the better one named above, the other below."""
    x, ours, random = budget.num_selected, budget.coverage, budget.coverage_random
    axes.axvline(x, color=GRID, linewidth=1.5, zorder=1)
    points = [(ours, "o", BLUE, "this selection")]
    if random is not None:
        points.append((random, "D", MUTED, "as many random picks"))
    for place, (y, marker, color, name) in enumerate(sorted(points, key=lambda point: -point[0])):
        axes.plot([x], [y], marker, color=color, markersize=6.5, zorder=4)
        _name_point(axes, (x, y), f"{name}: {number(y)}", color, above=place == 0)


def _name_point(axes: Axes, point: tuple[float, float], text: str, color: str, *, above: bool) -> None:
    """A curve that only rises leaves room on the left above a point, and on the right below it."""
    right = axes.get_xlim()[1]
    if above:
        _write_beside(axes, point, (-6, 8), text, ha="right", color=color, zorder=5)
    elif point[0] < 0.75 * right:
        _write_beside(axes, point, (10, -14), text, ha="left", color=color, zorder=5)
    else:
        _write_beside(axes, (right, point[1]), (0, -26), text, ha="right", color=color, zorder=5)


def _mark_knee(axes: Axes, budget: BudgetCurves) -> None:
    if budget.knee is None:
        return
    x, y = budget.knee, coverage_at(budget.curve, budget.knee)
    axes.vlines(x, 0, y, color=VERMILION, linewidth=1.2, linestyle=":", zorder=2)
    axes.plot([x], [y], "s", color=VERMILION, markeredgecolor=PAPER, markersize=8, zorder=4)
    _write_at_foot(axes, x, (6, 6), f"knee: {x:,} labels", ha="left")


def _mark_random_labels(axes: Axes, budget: BudgetCurves) -> None:
    """From the selection to the random curve at the same height, or out of the picture where that lies outside."""
    if budget.random_labels is None:
        return
    x, y, right = budget.random_labels, budget.coverage, axes.get_xlim()[1]
    axes.hlines(y, budget.num_selected, min(x, right), color=INK, linewidth=1.2, linestyle=":", zorder=2)
    text = f"random needs {x:,} labels for the same coverage"
    if x > budget.axis_end:
        axes.plot([right], [y], ">", color=INK, markersize=6, clip_on=False, zorder=4)
        _write_beside(axes, (right, y), (-6, 7), text, ha="right", color=INK, zorder=5)
        return
    axes.vlines(x, 0, y, color=INK, linewidth=1.2, linestyle=":", zorder=2)
    axes.plot([x], [y], "D", color=MUTED, markerfacecolor=PAPER, markersize=6, zorder=4)
    _write_at_foot(axes, x, (-6, 20), text, ha="right")  # above the line of the knee's words


def _write_at_foot(axes: Axes, x: float, offset: tuple[float, float], text: str, **style: Any) -> None:
    """Text beside a line that comes down to the axis: under both curves, where there is room."""
    _write_beside(axes, (x, 0), offset, text, color=INK, zorder=5, **style)
