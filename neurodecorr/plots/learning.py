"""Correlation and stability while learning goes on."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodecorr._typing import Floats
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import Entry, require_comparison
from neurodecorr.plots.style import INK, INPUT, canvas, label_decades, legend_above, mark, shade_unstable, styled


@styled
def learning(comparison: Comparison) -> Figure:
    """Draw correlation and stability margin against the samples learnt from.

    ::

        ρ = √⟨ρ_ij²⟩, i ≠ j;    margin = min Re λ(R)

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        Two panels. A cross marks where learning stopped with an error.
    """
    require_comparison(comparison)
    figure, axes = canvas(1, 2, 4.4, sharex=True)
    left, right = axes[0]
    online = [entry for entry in comparison.entries if len(entry.steps)]
    handles = [_curve(left, entry, entry.correlations) for entry in online]
    for entry in online:
        _curve(right, entry, entry.margins)
    _references(left, comparison)
    left.set_yscale("log")
    label_decades(left, "y")
    left.set(ylabel="rms correlation coefficient", title="Decorrelation")
    lowest = min((float(entry.margins.min()) for entry in online), default=0.0)
    right.set_yscale("symlog", linthresh=0.1, linscale=1)
    right.yaxis.set_major_formatter("{x:g}")
    right.set_ylim(min(-0.03, 1.5 * lowest), 1.3)
    right.set(ylabel="stability margin min Re λ(R) (1/τ)", title="Stability")
    shade_unstable(right, "y")
    right.text(0.02, 0.02, "unstable: as a circuit, it would not settle", transform=right.transAxes, fontsize=9)
    for panel in axes[0]:
        panel.set(xscale="log", xlabel="samples learnt from")
    label_decades(left, "x")
    legend_above(figure, handles, [entry.name for entry in online], max(len(online), 1))
    return figure


def _curve(panel: Axes, entry: Entry, values: Floats) -> Any:
    look = mark(entry.name)
    seen = entry.steps > 0  # a logarithmic axis has no place for the start
    samples, shown = entry.steps[seen], values[seen]
    (line,) = panel.plot(samples, shown, color=look.color, linestyle=look.line, linewidth=look.width)
    if entry.failure and len(samples):
        panel.plot(samples[-1:], shown[-1:], "X", color=look.color, markersize=10, markeredgecolor=INK, zorder=5)
    return line


def _references(panel: Axes, comparison: Comparison) -> None:
    """Draw where learning starts, named at the far end, and where the closed form lies, named at the near end."""
    panel.axhline(comparison.correlation, color=INPUT.color, linestyle=":", linewidth=1.6)
    _name_level(panel, "input", comparison.correlation, right=True)
    for entry in comparison.entries:
        if not len(entry.steps):
            panel.axhline(entry.correlation, color=mark(entry.name).color, linestyle=":", linewidth=1.6)
            _name_level(panel, entry.name, entry.correlation, right=False)


def _name_level(panel: Axes, name: str, level: float, right: bool) -> None:
    place, side = (0.99, "right") if right else (0.01, "left")
    words: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "fontsize": 9,
        "ha": side,
    }
    panel.annotate(name, (place, level), xytext=(0, -11 if right else 4), **words)
