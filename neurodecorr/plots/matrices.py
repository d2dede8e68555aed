"""Plots of matrices: correlations, spectra, receptive fields (rows of M) and lateral fields (columns of R)."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
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
    """Return correlation coefficients; NaN for units without power.

    ::

        ρ_ij = C_ij/√(C_ii C_jj)
    """
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


COLUMNS = 3
MOST = 4  # fields along a side
FINENESS = 24  # pixels of the picture per field, at least; the line between fields is one


@styled
def receptive_fields(comparison: Comparison) -> Figure:
    """Draw the receptive fields, the rows of M; as images if the inputs are images.

    ::

        x̄_i = ∑_j M_ij (x_j − μ_j)

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        One panel per form. Of images a regular selection of units is shown, each where its pixel lies and relative to
        its largest weight; colours end at half of that, so that the surround shows.
    """
    require_comparison(comparison)
    weights = {entry.name: entry.matrix for entry in comparison.entries}
    if _is_image(comparison.shape):
        pictures = {name: _mosaic(matrix, comparison.shape) for name, matrix in weights.items()}
        return _images(pictures, 0.5, "weight Mᵢⱼ, relative to the\nlargest of the field")
    return _heat_maps(weights, "weight Mᵢⱼ", "input unit j", "output unit i")


@styled
def lateral_fields(comparison: Comparison) -> Figure:
    """Draw the lateral fields, the columns of R; as images if the inputs are images.

    ::

        τ dx̄_i/dt = x_i − ∑_j R_ij x̄_j

    Positive weights inhibit.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        One panel per circuit. Of images a regular selection of units is shown, each where its pixel lies and relative
        to its largest weight.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, §3.2 and Appendix D (sign corrected).
    """
    require_comparison(comparison)
    weights = {entry.name: entry.lateral for entry in comparison.entries if entry.settles}
    if _is_image(comparison.shape):
        pictures = {name: _mosaic(R.T, comparison.shape) for name, R in weights.items()}
        return _images(pictures, 1.0, "weight Rᵢⱼ (positive inhibits),\nrelative to the largest of the field")
    return _heat_maps(weights, "weight Rᵢⱼ (positive inhibits)", "sending unit j", "receiving unit i")


def _is_image(shape: tuple[int, ...] | None) -> TypeGuard[tuple[int, int]]:
    return shape is not None and len(shape) == 2 and min(shape) > 1


def _images(pictures: dict[str, Floats], limit: float, label: str) -> Figure:
    figure, panels = _panels(list(pictures), 2.9)
    image: Any = None
    for panel, picture in zip(panels, pictures.values(), strict=True):
        image = panel.imshow(picture, cmap=_cmap(), vmin=-limit, vmax=limit)
        panel.set_axis_off()
    figure.colorbar(image, ax=panels, label=label, shrink=0.8, aspect=25, extend="both" if limit < 1 else "neither")
    return figure


def _heat_maps(weights: dict[str, Floats], label: str, across: str, down: str) -> Figure:
    figure, panels = _panels(list(weights), 2.75)
    limit = max(float(np.abs(matrix).max()) for matrix in weights.values())
    image: Any = None
    for panel, matrix in zip(panels, weights.values(), strict=True):
        image = panel.imshow(matrix, cmap=_cmap(), vmin=-limit, vmax=limit)
        panel.set(xlabel=across, ylabel=down)
    figure.colorbar(image, ax=panels, label=label, shrink=0.8, aspect=25)
    return figure


def _panels(names: list[str], height: float) -> tuple[Figure, list[Axes]]:
    """Return titled panels of the common size, COLUMNS in a row."""
    rows, columns = math.ceil(len(names) / COLUMNS), min(COLUMNS, len(names))
    figure, axes = canvas(rows, columns, height * rows + 0.15, width=1.3 + 2.9 * columns)
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.05, hspace=0.04)
    for panel, name in zip(axes.flat, names, strict=False):
        panel.set_title(name)
        panel.grid(False)
    for spare in axes.flat[len(names) :]:
        spare.remove()
    return figure, list(axes.flat[: len(names)])


def _cmap() -> Any:
    return colormaps[DIVERGING].with_extremes(bad="#9a9a9a")


def _mosaic(fields: Floats, shape: tuple[int, int]) -> Floats:
    """Lay a regular selection of fields (rows) out as one image, each at the place of its unit."""
    height, width = shape
    zoom = math.ceil(FINENESS / max(shape))
    down, across = _selection(height), _selection(width)
    tall, wide = zoom * height + 1, zoom * width + 1
    picture = np.full((len(down) * tall - 1, len(across) * wide - 1), np.nan)
    for r, i in enumerate(down):
        for c, j in enumerate(across):
            field = fields[i * width + j].reshape(shape)
            field = np.kron(field / (np.abs(field).max() or 1), np.ones((zoom, zoom)))
            picture[r * tall : r * tall + tall - 1, c * wide : c * wide + wide - 1] = field
    return picture


def _selection(length: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, min(length, MOST)).round().astype(np.int64))
