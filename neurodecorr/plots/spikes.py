"""Plots of spiking networks: activity, coding error, and correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurodecorr._typing import Floats
from neurodecorr._validation import instance, mapping, several, shaped, vector
from neurodecorr.plots.style import INK, QUIET, canvas, label_decades, styled
from neurodecorr.spiking.code import coding_error_floor
from neurodecorr.spiking.correlation import Reduction
from neurodecorr.spiking.runs import SpikeRun

UP, DOWN = "#D55E00", "#0072B2"
TRACES = 3  # units whose activity is drawn
COLOURS = ("#009E73", "#D55E00", "#0072B2")
# A legend at the right of a panel's title.
ABOVE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1.02, 0.99),
    "ncols": 2,
    "borderaxespad": 0.1,
    "handlelength": 1.2,
    "columnspacing": 1.0,
}


@styled
def spike_codes(
    run: SpikeRun,
    xbar: npt.ArrayLike,
    gammas: npt.ArrayLike,
    errors: npt.ArrayLike,
    reductions: Mapping[str, Sequence[Reduction]],
) -> Figure:
    """Draw a spike code, its error against spike size, and correlations before and after learning.

    ::

        √⟨(r − M x)²⟩ = γ/√12

    Parameters
    ----------
    run : SpikeRun
        A short run of a spike code.
    xbar : (records, n) array_like
        What the rate circuit does at the times of its records.
    gammas : (sizes,) array_like
        Charges γ of a spike.
    errors : (sizes, seeds) array_like
        Rms errors against M x.
    reductions : mapping of str to sequence of Reduction
        Networks by name, one reduction per seed.

    Returns
    -------
    Figure
        Spikes of all units and activity of three; errors; correlations with their confidence intervals.

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258.
    """
    instance(run, SpikeRun, "run", advice="Use simulate(network, stimulus).")
    xbar = shaped(xbar, "xbar", None, None)
    gammas = vector(gammas, "gammas")
    errors = shaped(errors, "errors", len(gammas), None)
    for name, found in mapping(reductions, "reductions").items():
        several(found, Reduction, f"reductions[{name!r}]", "a Reduction")
    figure, axes = canvas(2, 2, 7.4)
    _raster(axes[0, 0], run)
    _activity(axes[0, 1], run, np.asarray(xbar))
    _errors(axes[1, 0], np.asarray(gammas, dtype=float), np.asarray(errors, dtype=float))
    _correlations(axes[1, 1], reductions)
    return figure


def _raster(panel: Axes, run: SpikeRun) -> None:
    spikes = run.spikes
    for sign, colour, label in ((1, UP, "up"), (-1, DOWN, "down")):
        chosen = spikes.sign == sign
        panel.plot(
            spikes.time_s[chosen],
            spikes.unit[chosen],
            "|",
            color=colour,
            markersize=5,
            markeredgewidth=0.7,
            label=label,
        )
    panel.set(xlabel="time (s)", ylabel="unit", title="Spikes of both signs", xlim=(0, run.duration_s))
    panel.set_yticks(range(0, run.units, max(1, run.units // 4)))
    panel.set_ylim(-0.8, run.units - 0.2)
    panel.grid(visible=False)
    panel.legend(markerscale=2, **ABOVE)


def _activity(panel: Axes, run: SpikeRun, xbar: Floats) -> None:
    units = range(min(TRACES, run.units))
    step = 0.8 * float(np.ptp(xbar[:, : len(units)]))
    for unit, colour in zip(units, COLOURS, strict=False):
        panel.plot(run.t_s, xbar[:, unit] + unit * step, color=QUIET, linewidth=3.5, alpha=0.5)
        panel.plot(run.t_s, run.activity[:, unit] + unit * step, color=colour, linewidth=0.9)
    panel.plot([], [], color=QUIET, linewidth=3.5, alpha=0.5, label="rate circuit")
    panel.plot([], [], color=COLOURS[0], linewidth=0.9, label="filtered spikes")
    panel.set_yticks([unit * step for unit in units], [f"{unit}" for unit in units])
    panel.set(xlabel="time (s)", ylabel="unit, 0 at its line", title="Activity", xlim=(0, run.duration_s))
    panel.legend(**ABOVE)


def _errors(panel: Axes, gammas: Floats, errors: Floats) -> None:
    line = np.geomspace(gammas.min() / 1.3, gammas.max() * 1.3, 50)
    panel.loglog(line, [coding_error_floor(float(gamma)) for gamma in line], color=INK, linewidth=1.2, label="γ/√12")
    for index, column in enumerate(errors.T):
        panel.plot(gammas, column, "o", color=UP, fillstyle="none", label=None if index else "spike code, each seed")
    panel.set(xlabel="charge of a spike γ", ylabel="rms error against M x", title="Error at rest")
    panel.set_xlim(line[0], line[-1])
    label_decades(panel, "x")
    label_decades(panel, "y")
    panel.legend(loc="upper left")


def _correlations(panel: Axes, reductions: Mapping[str, Sequence[Reduction]]) -> None:
    for place, (_, found) in enumerate(reversed(list(reductions.items()))):
        for seed, reduction in enumerate(found):
            height = place + 0.5 * ((seed + 0.5) / len(found) - 0.5)
            for measured, colour in ((reduction.before, QUIET), (reduction.after, UP)):
                panel.plot([measured.low, measured.high], [height, height], color=colour, linewidth=1.2)
                panel.plot(measured.mean, height, "o", color=colour, markersize=4)
            panel.plot(reduction.after.floor, height, "|", color=INK, markersize=7)
    panel.set_yticks(range(len(reductions)), list(reversed(list(reductions))))
    for label, colour, look in (("before", QUIET, "o"), ("after", UP, "o"), ("by chance", INK, "|")):
        panel.plot([], [], look, color=colour, label=label)
    panel.set(xlabel="mean |correlation|", xlim=(0, None), title="Decorrelation")
    panel.grid(axis="y", visible=False)
    panel.legend(loc="lower right", handletextpad=0.1)
