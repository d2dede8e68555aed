"""The golden response of an exported circuit, and what other programs made of the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurodecorr._typing import Floats
from neurodecorr._validation import mapping, shaped, vector
from neurodecorr.errors import ConfigError
from neurodecorr.plots.style import INK, QUIET, canvas, label_decades, legend_above, styled

UNITS = 6  # units whose activity is drawn
POINTS = 14  # marks per reader and unit
MARKS = (("#D55E00", "o"), ("#0072B2", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
FLOOR = 1e-17  # below any difference of doubles of this size


@styled
def reference_readers(times: npt.ArrayLike, course: npt.ArrayLike, readers: Mapping[str, npt.ArrayLike]) -> Figure:
    """Draw a time course with what independent readers of the exported files computed, and their errors.

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
