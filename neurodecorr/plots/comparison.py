"""Figures of how a comparison learns, settles and is disturbed: curves, eigenvalues, paths, cost, mismatch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurodecorr._typing import Floats
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import Entry, require_comparison
from neurodecorr.comparison.summary import format_number
from neurodecorr.plots.style import (
    INK,
    INPUT,
    QUIET,
    SHADE,
    canvas,
    label_decades,
    legend_above,
    mark,
    shade_unstable,
    styled,
)


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

    ::

        R v = λ v,    the mode v decays as e^(−λ t/τ)

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


SPREAD = 0.6  # share of the distance between two levels over which the forms are spread


@styled
def mismatch(comparison: Comparison) -> Figure:
    """Draw output error and the number of stable circuits against random synaptic mismatch.

    ::

        W_ij ← W_ij (1 + σ ξ_ij),    ξ ~ N(0, 1),    W = M or R

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        Left: median over draws, and their range; draws that lost stability lie in the shaded row. Right: share of
        draws that settle.
    """
    require_comparison(comparison)
    figure, axes = canvas(1, 2, 4.5, width_ratios=(1.5, 1))
    left, right = axes[0]
    place = np.arange(len(comparison.mismatch_levels), dtype=float)
    top = _row_of_the_unstable(comparison)
    circuits = [entry for entry in comparison.entries if entry.settles]
    for entry, offset in zip(comparison.entries, _offsets(len(comparison.entries)), strict=True):
        _errors(left, entry, place + offset, top)
    for entry, offset in zip(circuits, _offsets(len(circuits)), strict=True):
        look = mark(entry.name)
        right.plot(
            place + offset, 100 * entry.stable_share, look.line, color=look.color, marker=look.marker, markersize=7
        )
    left.set(yscale="log", ylabel="output error, relative to the output's size", title="Output error")
    if np.isfinite(top):
        left.axhspan(top / 1.6, top * 1.6, color=SHADE, linewidth=0, zorder=0)
        left.set_ylim(None, top * 1.6)
    label_decades(left, "y", last=(top, "unstable") if np.isfinite(top) else None)
    right.set(ylim=(-4, 104), ylabel="circuits that still settle (% of draws)", title="Stability of the circuits")
    for panel in axes[0]:
        panel.set_xticks(place, [f"{100 * level:g}" for level in comparison.mismatch_levels])
        panel.set(xlabel="synaptic mismatch σ (% of each weight)", xlim=(place[0] - 0.5, place[-1] + 0.5))
        panel.grid(axis="x", visible=False)
    handles, labels = left.get_legend_handles_labels()
    legend_above(figure, handles, labels, len(labels))
    return figure


def _offsets(count: int) -> Floats:
    return np.asarray((np.arange(count) - (count - 1) / 2) * SPREAD / max(count, 1))


def _row_of_the_unstable(comparison: Comparison) -> float:
    """Return the height at which unstable draws are shown; infinite if there are none."""
    errors = np.concatenate([entry.mismatch_error.ravel() for entry in comparison.entries])
    finite = errors[np.isfinite(errors)]
    return np.inf if len(finite) == len(errors) else 4 * float(finite.max(initial=1.0))


def _errors(panel: Axes, entry: Entry, place: Floats, top: float) -> None:
    look = mark(entry.name)
    shown = np.minimum(entry.mismatch_error, top)
    middle = np.median(shown, axis=1)
    reach = np.stack([middle - shown.min(axis=1), shown.max(axis=1) - middle])
    panel.errorbar(
        place,
        middle,
        reach,
        label=entry.name,
        color=look.color,
        marker=look.marker,
        markerfacecolor=look.face,
        markersize=7,
        linestyle="none",
        elinewidth=1.6,
        capsize=3,
    )


@styled
def cost(comparison: Comparison) -> Figure:
    """Draw the result and the cost of each form: correlation left, settling time, multiply-adds.

    Parameters
    ----------
    comparison : Comparison
        What was found.

    Returns
    -------
    Figure
        Three panels over one list of forms. Shaded: what may be scatter of the held-out samples. A matrix answers
        in one product and has no settling time.
    """
    require_comparison(comparison)
    figure, axes = canvas(1, 3, 3.4, sharey=True)
    reached, time, work = axes[0]
    place = np.arange(len(comparison.entries))[::-1]
    for row, entry in zip(place, comparison.entries, strict=True):
        look = mark(entry.name)
        point = {"color": look.color, "marker": look.marker, "markerfacecolor": look.face, "markersize": 9}
        if entry.over_seeds is not None:
            over = entry.over_seeds[:, 0]
            reached.plot([over.min(), over.max()], [row, row], color=look.color, linewidth=2)
        reached.plot(entry.correlation, row, **point)
        work.plot(entry.operations, row, **point)
        if entry.settles:
            time.plot([entry.settling_time, entry.settling_time_worst], [row, row], color=look.color, linewidth=2)
            time.plot(entry.settling_time, row, **point)
        else:
            time.plot(0, row, **point)
    seeds = "" if comparison.seeds is None else f", {len(comparison.seeds)} seeds"
    reached.set(xscale="log", xlabel=f"rms correlation left{seeds}")
    reached.axvline(comparison.correlation, color=QUIET, linestyle=":", linewidth=1.6)
    reached.annotate(
        "input", (comparison.correlation, place[0]), xytext=(-4, 0), textcoords="offset points", ha="right"
    )
    if comparison.scatter:
        left = min(reached.get_xlim()[0], comparison.scatter / 2)
        reached.axvspan(left, comparison.scatter, color=SHADE, linewidth=0, zorder=0)
        reached.set_xlim(left, None)
    label_decades(reached, "x")
    time.set(xlabel="settling time (τ), median to worst")
    work.set(xscale="log", xlabel="multiply-adds per sample")
    label_decades(work, "x")
    reached.set_yticks(place, [entry.name for entry in comparison.entries])
    for panel, title in zip(axes[0], ("What is left", "What it takes: time", "What it takes: work"), strict=True):
        panel.set_title(title)
        panel.tick_params(axis="y", length=0, colors=INK)
        panel.set_ylim(-0.6, len(place) - 0.4)
    return figure
