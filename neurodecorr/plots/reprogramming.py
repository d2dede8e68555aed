"""Residual correlation of chips: programmed once, and having learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodecorr._texts import short_repr
from neurodecorr._validation import several
from neurodecorr.plots.style import INK, QUIET, SHADE, canvas, label_decades, legend_above, styled

# Okabe–Ito, by the order in which curves first appear.
COLOURS = ("#222222", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARKERS = "sov^Dx"
# Where a chip without a settled state is drawn: above every correlation.
UNSTABLE = 2.0


@short_repr
@dataclass(frozen=True)
class ReprogrammingPanel:
    """One panel: residual correlation of many chips against one thing.

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
    """Draw medians over chips, with bands from the tenth to the ninetieth of a hundred.

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
        colour, marker = COLOURS[which % len(COLOURS)], MARKERS[which % len(MARKERS)]
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
