"""Common style of all figures: one colour and marker per form."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

P = ParamSpec("P")

# matplotlib has one set of settings for the process: figures are drawn and written one after the other.
SETTINGS = threading.RLock()

# Dark grey for lines and text, middle grey for what is secondary, a light tint for unstable regions.
INK, QUIET, SHADE = "#222222", "#767676", "#f3dfd7"
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # found by matplotlib, it costs a third of the drawing
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.facecolor": "white",
    "font.size": 10.5,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "image.interpolation": "nearest",
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "neurodecorr",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 10,
    "ytick.color": INK,
    "ytick.labelsize": 10,
}
DIVERGING = "RdBu_r"
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
WIDTH = 10.0  # inches; the column of the report


class Mark(NamedTuple):
    """Colour, marker and line of one form."""

    color: str
    marker: str
    line: str
    width: float
    face: str  # filled for circuits, open for matrices


# Okabe–Ito colours: blues for matrices M, warm and green for circuits R. Twins share a marker; the matrix lies
# beneath as a broad line, so that both show where they coincide.
MARKS = {
    "M* offline": Mark("#000000", "D", ":", 1.6, "white"),
    "M explicit": Mark("#56B4E9", "s", "-", 5.0, "white"),
    "M implicit": Mark("#0072B2", "o", "-", 5.0, "white"),
    "R explicit": Mark("#E69F00", "s", "--", 1.8, "#E69F00"),
    "R implicit": Mark("#D55E00", "o", "-", 1.8, "#D55E00"),
    "R congruent": Mark("#009E73", "^", "-.", 1.8, "#009E73"),
}
OTHER = Mark("#CC79A7", "v", "-", 1.8, "#CC79A7")
INPUT = Mark(QUIET, "x", "-", 1.6, QUIET)


def mark(name: str) -> Mark:
    """Return colour, marker and line of the form called `name`.

    References
    ----------
    Okabe & Ito (2008), Color Universal Design.
    """
    return MARKS.get(name, OTHER)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Apply the common style to a function that draws, and restore matplotlib's settings afterwards."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with SETTINGS, rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def canvas(rows: int, columns: int, height: float, width: float = WIDTH, **options: Any) -> tuple[Figure, Any]:
    """Return a figure, by default of the common width, and its (rows, columns) axes; lengths in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def legend_above(figure: Figure, handles: Any, labels: Any, columns: int) -> None:
    """Put one legend above all panels, where it covers no data."""
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=2.8, columnspacing=1.6)


def label_decades(axes: Axes, along: str, last: tuple[float, str] | None = None) -> None:
    """Label a logarithmic axis in plain numbers: 1, 2, 5, 10 over few decades, else whole decades.

    Powers of ten where a number would be long. `last` is a place above all numbers, and the word to put there.
    """
    axis, limits = (axes.xaxis, axes.get_xlim()) if along == "x" else (axes.yaxis, axes.get_ylim())
    top = limits[1] if last is None else last[0] / 2
    decades = math.log10(top / limits[0])
    locator = LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0,), numticks=5 if along == "x" else 9)
    ticks = [float(tick) for tick in locator.tick_values(limits[0], top) if limits[0] <= tick <= top]
    plain = all(1e-3 <= tick < 1e6 for tick in ticks)
    labels = [f"{tick:,g}" if plain else _power(tick) for tick in ticks]
    axis.set_ticks([*ticks, *(last[:1] if last else ())], [*labels, *(last[1:] if last else ())])
    axis.set_minor_locator(NullLocator())


def _power(value: float) -> str:
    """Return a number of one digit in front of its power of ten: 10⁻⁶, 2·10⁻⁶."""
    digit, exponent = f"{value:.0e}".split("e")
    front = "" if digit == "1" else f"{digit}·"
    return f"{front}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def shade_unstable(axes: Axes, along: str) -> None:
    """Shade where min Re λ(R) < 0, and draw the stability line; keep the limits of the axes."""
    if along == "x":
        limits = axes.get_xlim()
        axes.axvspan(min(limits[0], 0), 0, color=SHADE, zorder=0, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1.2)
        axes.set_xlim(limits)
    else:
        limits = axes.get_ylim()
        axes.axhspan(min(limits[0], 0), 0, color=SHADE, zorder=0, linewidth=0)
        axes.axhline(0, color=INK, linewidth=1.2)
        axes.set_ylim(limits)
