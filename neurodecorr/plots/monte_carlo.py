"""Errors of chips: closed form beside chips that were simulated one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import checked_text, instance, positive, several
from neurodecorr.plots.style import INK, QUIET, canvas, label_decades, legend_above, styled

if TYPE_CHECKING:  # names of types only: a comparison need not load what chips need
    from neurodecorr.export.budget import HardwareBudget, Row


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
    """Draw the hardware budget of one circuit: error over mismatch and over bits, in both forms.

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
