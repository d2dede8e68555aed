"""Plots of cost: settling time, arithmetic, and the effect of synaptic mismatch."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodecorr._typing import Floats
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import Entry, require_comparison
from neurodecorr.plots.style import INK, QUIET, SHADE, canvas, label_decades, legend_above, mark, styled

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
