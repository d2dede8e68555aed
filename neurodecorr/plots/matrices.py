"""Covariances before and after: matrices of correlation coefficients, and eigenvalue spectra."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurodecorr._typing import Floats
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import require_comparison
from neurodecorr.plots.style import DIVERGING, INPUT, canvas, label_decades, legend_above, mark, styled

MOST_COLUMNS = 4


@styled
def correlations(comparison: Comparison) -> Figure:
    """Draw the correlation coefficients between units, before and after each form.

    ::

        ρ_ij = C_ij / √(C_ii C_jj)

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        One panel per form on one colour scale. Units without power are grey.
    """
    require_comparison(comparison)
    panels = [("input", comparison.covariance, comparison.correlation)]
    panels += [(entry.name, entry.covariance, entry.correlation) for entry in comparison.entries]
    cells = len(panels) + 1  # the last one holds the colour bar
    rows = math.ceil(cells / MOST_COLUMNS)
    columns = math.ceil(cells / rows)
    figure, axes = canvas(rows, columns, rows * (0.35 + 9.5 / columns), sharex=True, sharey=True)
    image: Any = None
    for index, (panel, (name, covariance, rms)) in enumerate(zip(axes.flat, panels, strict=False)):
        panel.set_facecolor("#bbbbbb")
        image = panel.imshow(correlation_coefficients(covariance), cmap=DIVERGING, vmin=-1, vmax=1)
        panel.set_title(name)
        panel.set_title(f"rms {rms:.3f}", loc="right", fontweight="normal", fontsize=9.5)
        panel.grid(False)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(3, integer=True))
        panel.tick_params(labelbottom=index + columns >= len(panels))
    for spare in axes.flat[len(panels) :]:
        spare.set_axis_off()
    bar = axes.flat[len(panels)].inset_axes((0.04, 0.5, 0.92, 0.09))
    figure.colorbar(
        image, cax=bar, orientation="horizontal", label="correlation coefficient", ticks=[-1, -0.5, 0, 0.5, 1]
    )
    figure.supxlabel("unit", fontsize=11)
    figure.supylabel("unit", fontsize=11)
    return figure


def correlation_coefficients(covariance: Floats) -> Floats:
    """Return correlation coefficients; NaN for units without power."""
    variance = np.diag(covariance)
    active = variance > variance.max(initial=0.0) * np.finfo(float).eps ** 2
    size = np.sqrt(np.where(active, variance, np.nan))
    return np.asarray(covariance / size[:, None] / size)


@styled
def spectra(comparison: Comparison) -> Figure:
    """Draw the eigenvalues of the covariance, before and after each form.

    ::

        C v_k = λ_k v_k,    λ_1 ≥ λ_2 ≥ …

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        All eigenvalues against their rank; right, the outputs magnified.
    """
    require_comparison(comparison)
    figure, axes = canvas(1, 2, 4.4, width_ratios=(1.25, 1))
    whole, near = axes[0]
    rank = np.arange(1, comparison.features + 1)
    before = _eigenvalues(comparison.covariance)
    handles = whole.loglog(rank, before, color=INPUT.color, marker=".", markersize=4, label="input")
    for entry in comparison.entries:
        look = mark(entry.name)
        line = {"color": look.color, "linestyle": look.line, "linewidth": look.width, "label": entry.name}
        handles += whole.loglog(rank, _eigenvalues(entry.covariance), **line)
        near.plot(rank, _eigenvalues(entry.covariance), **line)
    unit = (
        "(units of the mean input variance)" if np.isclose(np.trace(comparison.covariance), rank[-1], rtol=0.1) else ""
    )
    whole.set(xlabel="rank k", ylabel=f"eigenvalue of the covariance λ\n{unit}".strip(), title="Before and after")
    near.set(xlabel="rank k", title="After, magnified", xlim=(1, rank[-1]))
    label_decades(whole, "x")
    label_decades(whole, "y")
    legend_above(figure, handles, [handle.get_label() for handle in handles], 4)
    return figure


def _eigenvalues(covariance: Floats) -> Floats:
    values = np.linalg.eigvalsh(covariance)[::-1]
    return np.where(values > values[0] * 1e-15, values, np.nan)
