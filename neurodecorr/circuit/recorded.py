"""Time courses that need not fit into memory: integrated stretch by stretch, streamed to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import (
    ROUNDING,
    checked_names,
    checked_text,
    choice,
    count,
    mapping,
    positive,
    steps_within,
    vector,
)
from neurodecorr._memory import require_memory
from neurodecorr.circuit.driven import PiecewiseConstant
from neurodecorr.circuit.model import Circuit
from neurodecorr.circuit.stability import stability
from neurodecorr.circuit.trajectory import METHODS, integrate
from neurodecorr.errors import InputError
from neurodecorr.recording import Variable, provenance
from neurodecorr.recording.recorder import Observable, Observer

__all__ = ["record_trajectory"]

Floats = npt.NDArray[np.floating[Any]]
Input = npt.ArrayLike | PiecewiseConstant | Callable[[float], npt.ArrayLike]

ROWS = 256  # rows of a stretch
KEPT = ("xbar", "residual")
EQUATION = "τ dx̄/dt = x − R x̄; R[i, j] acts from unit j on unit i"


def record_trajectory(
    circuit: Circuit,
    x: Input,
    t_end: float,
    path: str | os.PathLike[str],
    *,
    dt: float | None = None,
    what: tuple[str, ...] = KEPT,
    method: str = "auto",
    step: float | None = None,
    initial: npt.ArrayLike | None = None,
    seed: int = 0,
    tau_unit: str = "s",
    config: Mapping[str, Any] | None = None,
) -> Floats:
    """Integrate a circuit and stream its activity to a file of traces, in bounded memory.

    ::

        τ dx̄/dt = x(t) − R x̄,    rows at t = 0, dt, 2 dt, … ≤ t_end

    The file is readable at any time, also after the process was killed; see `Recorder` and `read_traces`. Step k of a
    row stands for the time k dt.

    Parameters
    ----------
    circuit : Circuit
        The circuit.
    x : (n,) array, PiecewiseConstant, or function
        Input, as for `integrate`; a single sample.
    t_end : float
        End, in the unit of τ.
    path : path-like
        The file of traces to write.
    dt : float, optional
        Time between rows, in the unit of τ; a tenth of the fastest time constant by default.
    what : tuple of {"xbar", "residual"}
        Activity, and the norm of x − R x̄, in the unit of x.
    method, step : str and float, optional
        Method of `integrate`, and its largest fixed step.
    initial : (n,) array, optional
        Activity at t = 0; zero by default.
    seed : int
        Of whatever made R and x; kept in the file.
    tau_unit : str
        Unit of τ and all times; kept in the file.
    config : mapping, optional
        Kept in the file, too.

    Returns
    -------
    (n,) array
        Activity at the last row.

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    InputError, ConfigError
        If an input or an option cannot be used.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.circuit import Circuit
    >>> from neurodecorr.recording import read_traces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     last = record_trajectory(Circuit([[2.0]], tau=0.02), [2.0], 1.0, f"{folder}/traces.h5", dt=0.01)
    ...     traces = read_traces(folder)
    >>> len(traces["xbar"]), traces.metadata["dt"], last.round(6).tolist()
    (101, 0.01, [1.0])
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"circuit must be a Circuit, whose activity is its whole state; got {type(circuit).__name__}.")
    t_end = positive(t_end, "t_end", "unit of tau")
    own = stability(circuit).fastest_time / 10 if dt is None else positive(dt, "dt", "unit of tau")
    kept, tau_unit, seed = _names(what), checked_text(tau_unit, "tau_unit"), count(seed, "seed", least=0)
    config = {} if config is None else mapping(config, "config")
    step = None if step is None else positive(step, "step", "unit of tau")
    rows = count(steps_within(t_end, own), "t_end / dt")
    require_memory(8 * (rows * (circuit.size + 1)), "the traces")
    choice(method, "method", METHODS)
    options = {"t_end": t_end, "dt": own, "method": method, "step": step, "what": list(kept), "n": circuit.size}
    about = provenance({**options, "tau": circuit.tau, "tau_unit": tau_unit, **config}, seed)
    facts: dict[str, str | int | float] = {"dt": own, "integrator": method, "seed": seed}
    facts["min_re_lambda"] = stability(circuit).margin
    state = np.zeros(circuit.size) if initial is None else vector(initial, "initial", circuit.size)
    seen = Observable(_variables(kept, circuit, tau_unit), lambda row: _rows(kept, circuit, x, *row), per_step=True)
    with Observer(
        path, [seen], EQUATION, "dt", tau=circuit.tau, tau_unit=tau_unit, facts=facts, provenance=about
    ) as observer:
        first = 0
        while first < rows:
            last = min(first + ROWS, rows)
            times = np.arange(last - first + 1) * own
            begin = first * own
            course = integrate(circuit, _later(x, begin), float(times[-1]), method, times, dt=step, initial=state).xbar
            new = min(first, 1)  # a stretch begins with the last row of the one before
            steps = np.arange(first + new, last + 1)
            observer.observe(last, (steps * own, course[new:]), len(steps))
            state, first = course[-1], last
    return np.asarray(state)


def _names(what: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(checked_names(what, "what", KEPT, least=1))


def _variables(kept: tuple[str, ...], circuit: Circuit, tau_unit: str) -> list[Variable]:
    known = {
        "xbar": Variable("xbar", (circuit.size,), description=f"activity at step · dt {tau_unit}, in the unit of x"),
        "residual": Variable("residual", description="‖x − R x̄‖, in the unit of x; 0 at rest"),
    }
    return [known[name] for name in kept]


def _rows(kept: tuple[str, ...], circuit: Circuit, x: Input, times: Floats, course: Floats) -> dict[str, Any]:
    found: dict[str, Any] = {"xbar": course} if "xbar" in kept else {}
    if "residual" in kept:
        drives = np.array([_at(x, t) for t in times]) if callable(x) or isinstance(x, PiecewiseConstant) else _at(x, 0)
        found["residual"] = np.linalg.norm(drives - course @ circuit.R.T, axis=1)
    return found


def _at(x: Input, t: float) -> Floats:
    """Return the input at a time."""
    if isinstance(x, PiecewiseConstant):
        # A row that rounding has put just before a switch is at the switch.
        return np.asarray(x.values[np.searchsorted(x.times, t * (1 + ROUNDING), side="right") - 1])
    return np.asarray(x(t) if callable(x) else x)


def _later(x: Input, begin: float) -> Input:
    """Return the input as it is seen from a later start."""
    if isinstance(x, PiecewiseConstant):
        now = int(np.searchsorted(x.times, begin, side="right")) - 1
        times = np.concatenate([[0.0], x.times[now + 1 :] - begin])
        return PiecewiseConstant(times, x.values[now:])
    return (lambda t: x(begin + t)) if callable(x) else x
