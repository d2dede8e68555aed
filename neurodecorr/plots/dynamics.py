"""The circuits in time: trajectories to the fixed point, and the eigenvalues that rule them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import Entry, require_comparison
from neurodecorr.comparison.summary import format_number
from neurodecorr.plots.style import INK, QUIET, canvas, label_decades, legend_above, mark, shade_unstable, styled


@styled
def settling(comparison: Comparison) -> Figure:
    """Draw the distance to the fixed point over time, and its certified bound.

    ::

        ‖x̄ − x̄*‖ ≤ ‖x − R x̄‖/σ_min(R)

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        One panel per circuit, one pair of lines per held-out sample.
    """
    require_comparison(comparison)
    circuits = [entry for entry in comparison.entries if entry.settles]
    figure, axes = canvas(1, len(circuits), 4.2, sharey=True, sharex=True)
    tol = float(comparison.config["tol"])
    for panel, entry in zip(axes[0], circuits, strict=True):
        colour = mark(entry.name).color
        for error, bound in zip(entry.path_error, entry.path_bound, strict=True):
            panel.semilogy(entry.path_time, error, color=colour, linewidth=2.0)
            panel.semilogy(entry.path_time, bound, color=INK, linestyle="--", linewidth=1.0)
        panel.axhline(tol, color=INK, linestyle=":", linewidth=1.4)
        panel.set(title=f"{entry.name}: median {entry.settling_time:.0f} τ", xlabel="time (τ)")
    axes[0, 0].set_ylabel("distance to the fixed point,\nrelative to its size")
    axes[0, 0].set_ylim(tol / 10, None)
    label_decades(axes[0, 0], "y")
    axes[0, 0].set_xlim(0, max(float(entry.path_time[-1]) for entry in circuits))
    handles = [
        Line2D([], [], color=QUIET, linewidth=2.0),
        Line2D([], [], color=INK, linewidth=1.0, linestyle="--"),
        Line2D([], [], color=INK, linewidth=1.4, linestyle=":"),
    ]
    labels = [
        "true distance",
        "certified bound, residual / σₘᵢₙ(R)",
        f"tolerance {format_number(tol, 1)}",
    ]
    legend_above(figure, handles, labels, 3)
    return figure


@styled
def eigenvalues(comparison: Comparison) -> Figure:
    """Draw the eigenvalues of R in the complex plane, with the stability line Re λ = 0.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        One panel per circuit; the unstable half-plane is shaded.
    """
    require_comparison(comparison)
    circuits = [entry for entry in comparison.entries if entry.settles]
    figure, axes = canvas(1, len(circuits), 3.8, sharex=True, sharey=True)
    for panel, entry in zip(axes[0], circuits, strict=True):
        look = mark(entry.name)
        values = entry.eigenvalues
        panel.plot(values.real, values.imag, look.marker, color=look.color, markersize=5, alpha=0.75, markeredgewidth=0)
        panel.set(xlabel="Re λ (1/τ)", title=f"{entry.name}: min Re λ = {format_number(entry.margin)}")
    _scale_real_axis(axes[0, 0], circuits)
    for panel in axes[0]:
        shade_unstable(panel, "x")
    axes[0, 0].set_ylabel("Im λ (1/τ)")
    words = {"fontsize": 9, "rotation": 90, "ha": "left", "va": "bottom"}
    axes[0, 0].text(0.02, 0.03, "unstable", transform=axes[0, 0].transAxes, **words)
    return figure


def _scale_real_axis(panel: Axes, circuits: list[Entry]) -> None:
    """Show small and large eigenvalues alike: logarithmic on both sides of a linear stretch around zero."""
    real = np.concatenate([entry.eigenvalues.real for entry in circuits])
    smallest = float(np.abs(real).min())
    linear = 10.0 ** math.floor(math.log10(smallest)) if smallest > 0 else 1e-3
    panel.set_xscale("symlog", linthresh=linear, linscale=0.5)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlim(min(-linear, 2 * float(real.min())), max(linear, 2 * float(real.max())))
    reach = 1.3 * max(float(np.abs(entry.eigenvalues.imag).max()) for entry in circuits)
    panel.set_ylim(-max(reach, 0.1), max(reach, 0.1))
