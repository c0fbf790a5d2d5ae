"""The charts of the report: plain values in, PNG bytes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

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


def budget_png(curve: Sequence[Sequence[float]], num_selected: int, coverage_random: float | None) -> bytes:
    """Coverage against the number of labels: where the curve flattens, more labels add little."""
    labels, coverage = np.array(curve, dtype=float).T
    with styled():
        figure = new_figure(WIDTH_IN, 3.4)
        axes = figure.subplots()
        axes.fill_between(labels, coverage, color=BLUE, alpha=0.08, linewidth=0)
        axes.plot(labels, coverage, color=BLUE, zorder=3)
        axes.axvline(num_selected, color=GRID, linewidth=1.5, zorder=1)
        here = float(np.interp(num_selected, labels, coverage))
        axes.plot([num_selected], [here], "o", color=BLUE, markersize=7, zorder=4)
        _beside(axes, num_selected, here, f"this selection: {number(here)}", BLUE)
        if coverage_random is not None:
            axes.plot([num_selected], [coverage_random], "D", color=MUTED, markersize=6, zorder=4)
            _beside(axes, num_selected, coverage_random, f"as many random picks: {number(coverage_random)}", MUTED)
        horizontal_grid(axes)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0, right=max(labels.max(), num_selected) * 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel="labels", ylabel="coverage of the pool")
        return to_png(figure)


def _beside(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Left of a point and under the curve, where there is room when the selection lies at the curve's end."""
    _write_beside(axes, (x, y), (-10, -14), text, ha="right", color=color, zorder=5)
