"""The charts of a search: what each setting was worth, and whether coverage would have shown it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from mmcsal.report.style import BLUE, INK, MUTED, VERMILION, new_figure, styled, to_png
from mmcsal.tuning.outcome import PRESENT, Outcome, SettingLine
from mmcsal.tuning.text import value_text

WIDTH_IN = 10.4
DIVERGING = "RdBu"  # red below the present settings, blue above them


def settings_png(outcome: Outcome) -> bytes:
    """What each setting gained over the present one: a heat map of a grid, a map of two keys, else parallel lines."""
    keys = list(outcome.lines[0].settings)
    tried = [line for line in outcome.lines if line.setting != PRESENT]
    with styled():
        figure = new_figure(WIDTH_IN, 4.6)
        axes = figure.subplots()
        if len(keys) == 2 and (grid := _grid_of(tried, keys)) is not None:
            shown = _heat_map(axes, keys, *grid)
        elif len(keys) == 2 and all(_is_number(line.settings[key]) for line in tried for key in keys):
            shown = _map(axes, keys, outcome)
        else:
            shown = _parallel(axes, keys, tried)
        figure.colorbar(shown, ax=axes, label=f"points of {outcome.objective} over the present settings")
        return to_png(figure)


def correlation_png(outcome: Outcome) -> bytes:
    """Accuracy against coverage, a dot a setting."""
    with styled():
        figure = new_figure(WIDTH_IN, 3.6)
        axes = figure.subplots()
        for line in outcome.lines:
            is_present = line.setting == PRESENT
            axes.scatter(100 * line.coverage, 100 * (line.accuracy or 0.0), s=60 if is_present else 30,
                         color=VERMILION if is_present else BLUE, zorder=3 if is_present else 2,
                         label="the present settings" if is_present else None)  # fmt: skip
        axes.set(xlabel="coverage of samples never selected, points", ylabel="accuracy, points")
        axes.legend(fontsize=8.5)
        return to_png(figure)


def _grid_of(lines: Sequence[SettingLine], keys: list[str]) -> tuple[list, list, np.ndarray] | None:
    """Values of both keys and the gains [second, first], where every combination was tried once; else None."""
    firsts, seconds = (_sorted_values(lines, key) for key in keys)
    if len(firsts) * len(seconds) != len(lines) or min(len(firsts), len(seconds)) < 2:
        return None
    gain = np.full((len(seconds), len(firsts)), np.nan)
    for line in lines:
        gain[seconds.index(line.settings[keys[1]]), firsts.index(line.settings[keys[0]])] = 100 * line.gain
    return None if np.isnan(gain).any() else (firsts, seconds, gain)


def _heat_map(axes: Axes, keys: list[str], firsts: list, seconds: list, gain: np.ndarray):
    shown = axes.imshow(gain, cmap=DIVERGING, norm=_norm(gain), aspect="auto", origin="lower")
    for row, column in np.ndindex(*gain.shape):
        axes.text(column, row, f"{gain[row, column]:+.2f}", ha="center", va="center", fontsize=8.5, color=INK)
    axes.set_xticks(range(len(firsts)), [value_text(value) for value in firsts])
    axes.set_yticks(range(len(seconds)), [value_text(value) for value in seconds])
    axes.set(xlabel=keys[0], ylabel=keys[1])
    axes.grid(visible=False)
    return shown


def _map(axes: Axes, keys: list[str], outcome: Outcome):
    """Where settings were tried; the present ones a cross, the finalist ringed."""
    tried = [line for line in outcome.lines if line.setting != PRESENT]
    points_NK = np.array([[line.settings[key] for key in keys] for line in tried], float)
    gain_N = np.array([100 * line.gain for line in tried])
    shown = axes.scatter(*points_NK.T, c=gain_N, cmap=DIVERGING, norm=_norm(gain_N), s=90, edgecolors=MUTED, zorder=3)
    present, finalist = (outcome.settings(number) for number in (PRESENT, outcome.finalist))
    axes.scatter(*(finalist[key] for key in keys), s=240, facecolors="none", edgecolors=INK, zorder=4,
                 label="best on fresh seeds")  # fmt: skip
    if all(_is_number(present[key]) for key in keys):
        axes.scatter(*(present[key] for key in keys), marker="x", s=90, color=INK, zorder=4, label="present")
    axes.set(xlabel=keys[0], ylabel=keys[1])
    axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(0, 1.12), ncols=2)
    return shown


def _parallel(axes: Axes, keys: list[str], lines: Sequence[SettingLine]):
    """A line a setting through its values, each key's values evenly from bottom to top."""
    gain_N = np.array([100 * line.gain for line in lines])
    norm = _norm(gain_N)
    values = {key: _sorted_values(lines, key) for key in keys}
    heights = np.array([
        [values[key].index(line.settings[key]) / max(len(values[key]) - 1, 1) for key in keys] for line in lines
    ])  # fmt: skip
    places = np.arange(len(keys))
    colors = axes.scatter([], [], c=[], cmap=DIVERGING, norm=norm)
    for height_K, gain in sorted(zip(heights, gain_N, strict=True), key=lambda pair: pair[1]):
        axes.plot(places, height_K, color=colors.to_rgba(gain), marker="o", markersize=4, linewidth=1.6)
    for place, key in zip(places, keys, strict=True):
        for end in {0, len(values[key]) - 1}:
            axes.annotate(value_text(values[key][end]), (place, end / max(len(values[key]) - 1, 1)), fontsize=8.5,
                          xytext=(6, 0), textcoords="offset points", color=INK, va="center")  # fmt: skip
    axes.set_xticks(places, keys)
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(keys) - 0.5)
    return colors


def _sorted_values(lines: Sequence[SettingLine], key: str) -> list:
    """The values that were tried: numbers by size, then others by their text."""
    values: list = []
    for line in lines:
        if line.settings[key] not in values:
            values.append(line.settings[key])
    return sorted(values, key=lambda value: (not _is_number(value), value if _is_number(value) else 0, str(value)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _norm(gain: np.ndarray) -> TwoSlopeNorm:
    most = max(float(np.abs(gain).max()), 0.01)
    return TwoSlopeNorm(0, -most, most)
