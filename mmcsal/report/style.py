"""How every figure looks: colours that colour-blind readers tell apart, quiet axes, the same bytes each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Figures are drawn at 100 CSS pixels an inch and rendered at twice that, for sharp screens and print.
DPI = 180
INK, MUTED, GRID, PAPER = "#1e293b", "#64748b", "#e2e8f0", "#ffffff"
POOL_GREY = "#c3ccd8"
# Okabe and Ito's colours, without those too pale for thin lines on white.
BLUE, ORANGE, GREEN, PINK, VERMILION, SKY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"
LINE_COLORS = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY)

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs on every machine
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # an id with two dollar signs is not a formula
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draws with these settings and no others, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure of its own, outside pyplot's global list of figures."""
    figure = Figure(figsize=(width_in, height_in), facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """PNG bytes without the version of matplotlib or a date in them."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return stream.getvalue()


def horizontal_grid(axes: Axes) -> None:
    """Lines to read heights by, and nothing else."""
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
