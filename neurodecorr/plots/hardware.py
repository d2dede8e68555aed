"""Errors of chips: closed form beside chips that were simulated one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import checked_text, instance, mapping, positive, several, shaped, vector
from neurodecorr.errors import ConfigError
from neurodecorr.plots.style import INK, QUIET, SHADE, canvas, label_decades, legend_above, styled

if TYPE_CHECKING:  # names of types only: a comparison need not load what chips need
    from neurodecorr.export.budget import HardwareBudget, Row


UNITS = 6  # units whose activity is drawn
POINTS = 14  # marks per reader and unit
MARKS = (("#D55E00", "o"), ("#0072B2", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
FLOOR = 1e-17  # below any difference of doubles of this size


@styled
def reference_readers(times: npt.ArrayLike, course: npt.ArrayLike, readers: Mapping[str, npt.ArrayLike]) -> Figure:
    """Draw a time course beside the results of independent readers of the exported files.

    Parameters
    ----------
    times : (t,) array_like
        Times in seconds.
    course : (t, n) array_like
        x̄ at these times.
    readers : mapping of str to (t, n) array_like
        What each reader computed for the same times.

    Returns
    -------
    Figure
        Waveforms on the left, the readers' points on top; largest error over units on the right.
    """
    t = vector(times, "times")
    xbar = shaped(course, "course", len(t), None).astype(float)
    if not mapping(readers, "readers"):
        raise ConfigError("readers must hold at least one reader's course; got none.")
    readers = {name: shaped(one, f"readers[{name!r}]", *xbar.shape) for name, one in readers.items()}
    figure, axes = canvas(1, 2, 4.8, width=11.0)
    left, right = axes[0]
    shown = np.argsort(-np.abs(xbar[-1]), kind="stable")[: len(xbar[0])]
    shown = shown[np.linspace(0, len(shown) - 1, min(UNITS, len(shown))).astype(int)]
    milliseconds = 1e3 * t
    left.plot(milliseconds, xbar[:, shown], color=INK, linewidth=1.4)
    handles = [Line2D([], [], color=INK, linewidth=1.4)]
    for index, found in enumerate(readers.values()):
        colour, marker = MARKS[index % len(MARKS)]
        found, error = np.asarray(found, float), _errors(xbar, np.asarray(found, float))
        # Each reader at other times, so that no mark hides another.
        at = np.geomspace(1, 0.8 * len(t), POINTS) * (1 + 0.07 * index)
        rows = np.unique(np.rint(at).astype(int))
        style: dict[str, Any] = {"marker": marker, "markersize": 5.5, "color": colour}
        left.plot(milliseconds[rows], found[rows][:, shown], linestyle="", **style)
        right.semilogy(milliseconds, error, linewidth=1.6, markevery=rows.tolist(), **style)
        handles.append(Line2D([], [], linewidth=1.6, **style))
    left.set(xlabel="time (ms)", ylabel="activity x̄ (unit of the input)", title=f"Golden response, {len(shown)} units")
    right.set_ylim(FLOOR, 1)
    right.set(xlabel="time (ms)", ylabel="largest error over units, relative", title="Distance to the golden response")
    for panel in (left, right):
        panel.set(xscale="log", xlim=(milliseconds[1] * 0.9, milliseconds[-1]))
    left.axhline(0, color=QUIET, linewidth=0.7, zorder=0)
    label_decades(right, "y")
    legend_above(figure, handles, ["our integrator, exact flow", *readers], 2)
    return figure


def _errors(xbar: Floats, found: Floats) -> Floats:
    """Return the largest error over units at each time, relative to the largest activity."""
    return np.asarray(np.maximum(np.abs(found - xbar).max(axis=1) / np.abs(xbar).max(), FLOOR))


# Okabe–Ito, by the order in which curves first appear.
COLOURS = ("#222222", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
IN_SITU_MARKERS = "sov^Dx"
# Where a chip without a settled state is drawn: above every correlation.
UNSTABLE = 2.0


@short_repr
@dataclass(frozen=True)
class ReprogrammingPanel:
    """One panel: residual correlation of many chips against one quantity.

    Parameters
    ----------
    title, xlabel : str
        Its words.
    x : (levels,) array
        What is varied.
    curves : mapping of str to (levels, chips) array
        Residual correlations; infinite where a chip is not stable.
    log : bool, default True
        Whether x is drawn logarithmically.
    level : (str, float), optional
        Name and height of a line to compare with.
    """

    title: str
    xlabel: str
    x: npt.ArrayLike
    curves: Mapping[str, npt.ArrayLike]
    log: bool = True
    level: tuple[str, float] | None = field(default=None)


@styled
def reprogramming(panels: Sequence[ReprogrammingPanel]) -> Figure:
    """Draw medians over chips, with bands from the 10th to the 90th percentile.

    Parameters
    ----------
    panels : sequence of ReprogrammingPanel
        Two to a row.

    Returns
    -------
    Figure
    """
    several(panels, ReprogrammingPanel, "panels", "a ReprogrammingPanel", least=1)
    rows = -(-len(panels) // 2)
    figure, axes = canvas(rows, min(len(panels), 2), 3.7 * rows + 0.5, sharey=True)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    handles = {}
    for panel, place in zip(panels, axes.flat, strict=False):
        handles.update(_panel(place, panel, names))
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    lowest = min(float(np.min(values)) for panel in panels for values in panel.curves.values())
    for place in axes.flat[: len(panels)]:
        place.set(yscale="log", ylim=(lowest / 1.5, 1.25 * UNSTABLE))
        place.axhspan(1.0, 1.25 * UNSTABLE, color=SHADE, zorder=0, linewidth=0)
        label_decades(place, "y", (UNSTABLE * 0.75, "unstable"))
    for place in axes[:, 0]:
        place.set_ylabel("residual rms correlation")
    legend_above(figure, [handles[name] for name in names], names, 2)
    return figure


def _panel(axes: Axes, panel: ReprogrammingPanel, names: Sequence[str]) -> dict[str, object]:
    handles: dict[str, object] = {}
    x = np.asarray(panel.x, dtype=float)
    for name, values in panel.curves.items():
        which = names.index(name)
        colour, marker = COLOURS[which % len(COLOURS)], IN_SITU_MARKERS[which % len(IN_SITU_MARKERS)]
        low, middle, high = np.quantile(np.asarray(values), [0.1, 0.5, 0.9], axis=1, method="nearest")
        shown = [np.where(np.isfinite(level), level, UNSTABLE * 0.75) for level in (low, middle, high)]
        axes.fill_between(x, shown[0], shown[2], color=colour, alpha=0.18, linewidth=0)
        line = "-" if which < len(COLOURS) else "--"
        handles[name] = axes.plot(x, shown[1], line, color=colour, marker=marker, markersize=5)[0]
    axes.set(title=panel.title, xlabel=panel.xlabel)
    if panel.log:
        axes.set(xscale="log", xlim=(x.min() / 1.2, x.max() * 1.2))
        label_decades(axes, "x")
    if panel.level is not None:
        axes.axhline(panel.level[1], color=QUIET, linestyle=":", linewidth=1.4)
        axes.annotate(panel.level[0], (x[0], panel.level[1]), (0, 3), textcoords="offset points", color=INK, fontsize=9)
    return handles


COLORS = {"circuit R": "#D55E00", "matrix M": "#0072B2"}
MARKERS = {"circuit R": "o", "matrix M": "s"}
APART = 0.035  # decades, or bits, by which the forms' points stand apart
ROOM = 3.0  # above the highest point, for words on chips that are lost


@short_repr
@dataclass(frozen=True, eq=False)
class ChipSeries:
    """Errors of one form over the levels of one imperfection.

    Parameters
    ----------
    form : {"circuit R", "matrix M"}
        What the chips hold.
    levels : (k,) array
        Where chips were made: mismatch as a fraction, or bits.
    median, low, high : (k,) array
        Median over chips and ends of their envelope; infinite where unstable chips decide.
    unstable : (k,) array
        Share of chips that do not settle.
    curve_at, curve : (m,) array
        Closed form: where, and what.
    first : (m,) array, optional
        Closed form to first order only.
    """

    form: str
    levels: Floats
    median: Floats
    low: Floats
    high: Floats
    unstable: Floats
    curve_at: Floats
    curve: Floats
    first: Floats | None = None


@short_repr
@dataclass(frozen=True, eq=False)
class ChipPanel:
    """One panel: its title, the kind of its levels, and its series."""

    title: str
    kind: str  # "mismatch" or "bits"
    series: tuple[ChipSeries, ...]


@styled
def chip_errors(panels: Sequence[ChipPanel], envelope: str = "median, 5–95 %", wanted: float | None = None) -> Figure:
    """Draw the errors of chips, median and envelope, on the curves of the closed form.

    Parameters
    ----------
    panels : sequence of ChipPanel
        Side by side, on one vertical scale.
    envelope : str
        What points and bars are, for the legend.
    wanted : float, optional
        A horizontal line: the error that is asked for, as a fraction.

    Returns
    -------
    Figure
        Errors in per cent. Above a level at which circuits lose stability stands the share that does.
    """
    several(panels, ChipPanel, "panels", "a ChipPanel", least=1)
    checked_text(envelope, "envelope")
    if wanted is not None:
        positive(wanted, "wanted")
    figure, axes = canvas(1, len(panels), 4.4, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        for index, series in enumerate(panel.series):
            _series(axis, series, panel.kind, (index - (len(panel.series) - 1) / 2) * APART)
        axis.set(yscale="log", title=panel.title)
        axis.margins(x=0.09)
        if wanted is not None:
            axis.axhline(100 * wanted, color=INK, linewidth=1, linestyle=":", label=f"wanted: {100 * wanted:g} %")
        _levels(axis, panel)
    axes[0, 0].set_ylabel("error of the output (%)")
    if any(np.isinf(series.median).any() for panel in panels for series in panel.series):
        axes[0, 0].set_ylim(None, ROOM * axes[0, 0].get_ylim()[1])
    label_decades(axes[0, 0], "y")
    handles = {text: handle for axis in axes[0] for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    bar = {f"chips: {envelope}": handles.pop("chips")} if "chips" in handles else {}
    handles = {**handles, **bar}
    legend_above(figure, handles.values(), handles.keys(), columns=len(handles) if len(handles) < 5 else 3)
    return figure


def budget_panels(budget: HardwareBudget) -> Figure:
    """Draw the hardware budget of one circuit: error against mismatch and bits, in both forms.

    Parameters
    ----------
    budget : HardwareBudget
        The answers.

    Returns
    -------
    Figure
    """
    from neurodecorr.export.budget import HardwareBudget  # loads what chips need

    instance(budget, HardwareBudget, "budget", advice="Use the budget command.")
    rows = {kind: [row for row in budget.rows if row.kind == kind] for kind in ("mismatch", "bits")}
    titles = {"mismatch": "Mismatch of devices", "bits": "Levels of devices"}
    panels = [
        ChipPanel(titles[kind], kind, tuple(_of_rows(form, found) for form in ("circuit R", "matrix M")))
        for kind, found in rows.items()
        if found
    ]
    return chip_errors(panels, "median, 90 % below", budget.wanted)


def _of_rows(form: str, rows: Sequence[Row]) -> ChipSeries:
    ordered = sorted(rows, key=lambda row: row.level)
    cells = [row.closed if form == "circuit R" else row.open for row in ordered]
    levels = np.array([row.level for row in ordered])
    median = np.array([cell.median for cell in cells])
    most = np.array([cell.most for cell in cells])
    unstable = np.array([cell.unstable / cell.chips for cell in cells])
    return ChipSeries(
        form, levels, median, median, most, unstable, levels, np.array([cell.predicted for cell in cells])
    )


def _series(axis: Axes, series: ChipSeries, kind: str, shift: float) -> None:
    color, marker = COLORS[series.form], MARKERS[series.form]
    scale = 100.0 if kind == "mismatch" else 1.0
    x = scale * series.levels * 10**shift if kind == "mismatch" else series.levels + 3 * shift
    axis.plot(scale * series.curve_at, 100 * series.curve, color=color, label=f"{series.form}, closed form")
    if series.first is not None:
        label = f"{series.form}, first order only"
        axis.plot(scale * series.curve_at, 100 * series.first, "--", color=INK, linewidth=1, label=label, zorder=3)
    seen = np.isfinite(series.median)
    high = np.where(np.isfinite(series.high), series.high, series.median)
    bars = 100 * np.stack([series.median[seen] - series.low[seen], high[seen] - series.median[seen]])
    axis.errorbar(
        x[seen], 100 * series.median[seen], bars, color=color, marker=marker, linestyle="none", capsize=3,
        elinewidth=1.3, markersize=5.5, markerfacecolor="white", label="chips" if series.form == "circuit R" else None,
    )  # fmt: skip
    words: dict[str, Any] = {"fontsize": 8.5, "color": QUIET, "textcoords": "offset points"}
    for at, top, share, lost in zip(x, 100 * high, series.unstable, ~seen, strict=True):
        if share > 0:
            text = f"{100 * share:.0f} %\nunstable"
            if lost:  # half of the chips or more: there is no median to stand above
                axis.annotate(
                    text, (at, 1), (0, -2), xycoords=("data", "axes fraction"), ha="center", va="top", **words
                )
            else:
                axis.annotate(text, (at, top), (-4, -4), ha="right", va="top", **words)


def _levels(axis: Axes, panel: ChipPanel) -> None:
    levels = panel.series[0].levels
    if panel.kind == "bits":
        axis.set_xticks(levels, [f"{level:g}" for level in levels])
        axis.set_xlabel("bits of a device")
        return
    axis.set(xscale="log", xlabel="mismatch of devices (%)")
    axis.set_xticks(100 * levels, [f"{100 * level:g}" for level in levels])
    axis.minorticks_off()
