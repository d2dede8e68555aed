"""Reference stimulus and response: what to put into a circuit, and what has to come out, with its certificate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import positive, real_array, sample_or_samples
from neurodecorr.circuit import Circuit, integrate, settle, stability
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.cells import matrix_text

FEWEST, MOST = 200, 1000  # intervals of the time course: as many as it has fastest time constants, within these
FINE = 20  # steps of dt per fastest time constant
REACH = math.log(1e4)  # slowest time constants until the end: the slowest mode has decayed to 1e-4
STIMULUS, REST, COURSE = "golden_stimulus.csv", "golden_rest.csv", "golden_course.csv"
SHAPES = ("stimulus (k, n), response (k, n), bound (k,), times (t,), course (t, n)", (2, 2, 1, 1, 2))


@short_repr
@dataclass(frozen=True, eq=False)
class ReferenceResponse:
    """A stimulus and the response to expect.

    ::

        τ dx̄/dt = x − R x̄,    x̄(0) = 0

    Parameters
    ----------
    stimulus : (k, n) array
        Inputs x, constant in time, centred, in the unit of the data.
    response : (k, n) array
        Settled x̄ of each, in the unit of x.
    bound : (k,) array
        Certified upper bound of ‖x̄ − x̄*‖ of each, in the unit of x.
    times : (t,) array
        Times in seconds, equally spaced, each a whole number of `dt_s`.
    course : (t, n) array
        x̄ at these times for the first stimulus.
    dt_s : float
        A step that resolves the fastest mode, in seconds: a twentieth of τ/|λ|max or less.
    """

    stimulus: Floats
    response: Floats
    bound: Floats
    times: Floats
    course: Floats
    dt_s: float

    def __repr__(self) -> str:
        samples, n = self.stimulus.shape
        return f"ReferenceResponse(samples={samples}, n={n}, times={len(self.times)}, dt_s={self.dt_s:g})"

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays by name, `dt_s` among them."""
        names = ("stimulus", "response", "bound", "times", "course")
        return {name: getattr(self, name) for name in names} | {"dt_s": np.array(self.dt_s)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], place: str) -> ReferenceResponse:
        """Return what `arrays` gave.

        Raises
        ------
        CheckpointError
            If a name or a shape is another.
        """
        try:
            wide: dict[str, Any] = {name: real_array(array, name).astype(np.float64) for name, array in arrays.items()}
            found = cls(**{**wide, "dt_s": float(wide["dt_s"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{place} must hold {SHAPES[0]} and dt_s; {error}.") from None
        parts = (found.stimulus, found.response, found.bound, found.times, found.course)
        (k, n), t = found.stimulus.shape if found.stimulus.ndim == 2 else (0, 0), len(np.atleast_1d(found.times))
        if [a.shape for a in parts] != [(k, n), (k, n), (k,), (t,), (t, n)] or not k or t < 2:
            raise CheckpointError(f"{place} must hold {SHAPES[0]}; got {', '.join(str(a.shape) for a in parts)}.")
        if not all(np.isfinite(a).all() for a in parts):
            raise CheckpointError(f"{place} must hold finite numbers; some are not.")
        return found

    def tables(self, tau_s: float) -> dict[str, str]:
        """Return three CSV tables by file name: stimulus, settled response, time course of a circuit with this τ."""
        units = range(self.stimulus.shape[1])
        x, u = [f"x{i}" for i in units], [f"u{i}" for i in units]
        k = range(len(self.stimulus))
        times = self.times.tolist()
        about = {name: (*lines[:-1], f"{lines[-1]} tau = {tau_s!r} s.") for name, lines in _ABOUT.items()}
        return {
            STIMULUS: matrix_text(about[STIMULUS], self.stimulus, x, k, "sample"),
            REST: matrix_text(about[REST], self.response, u, k, "sample"),
            COURSE: matrix_text(about[COURSE], self.course, u, times, "time_s"),
        }


def reference_response(circuit: Circuit, X: npt.ArrayLike, tau_s: float | None = None) -> ReferenceResponse:
    """Settle a circuit on stimuli with a certificate, and follow the first one on its way from 0.

    The settled activity comes from the factorised R with its certified bound, the time course from the exact flow.

    Parameters
    ----------
    circuit : Circuit
        The circuit; it must be stable.
    X : (k, n) or (n,) array_like
        Stimuli x, centred.
    tau_s : float, optional
        τ in seconds; by default `circuit.tau` is taken as seconds.

    Returns
    -------
    ReferenceResponse
        Until the slowest mode has decayed to 1e-4.

    Raises
    ------
    StabilityError
        If the circuit is unstable.
    InputError
        If X is not a finite (k, n) array.

    Examples
    --------
    >>> golden = reference_response(Circuit([[2.0, 0.0], [0.0, 4.0]]), [2.0, 4.0], tau_s=0.02)
    >>> golden.response.round(12).tolist(), round(float(golden.times[-1]), 3), len(golden.times)
    ([[1.0, 1.0]], 0.092, 201)
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"circuit must be a Circuit; got {type(circuit).__name__}. Use Circuit(R, tau).")
    wide = Circuit(circuit.R.astype(np.float64), circuit.tau if tau_s is None else positive(tau_s, "tau_s", "seconds"))
    U = sample_or_samples(X, "x", wide.size)[0].astype(np.float64)
    rest = settle(wide, U, tol=1e-12, relative=True, method="direct")
    facts = stability(wide)
    t_end, fast = REACH * facts.slowest_time, facts.fastest_time / FINE
    points = min(max(math.ceil(t_end / facts.fastest_time), FEWEST), MOST)
    whole = max(1, math.ceil(t_end / points / fast))
    dt_s = t_end / (points * whole)
    times = np.arange(points + 1) * (whole * dt_s)
    course = integrate(wide, U[0], float(times[-1]), "exponential", times=times).xbar
    return ReferenceResponse(U, rest.xbar, np.asarray(rest.bound), times, course, dt_s)


_ABOUT = {
    STIMULUS: (
        "Golden stimulus: inputs x, constant from t = 0 on, one sample per row.",
        "x is centred (raw input minus mean), in the unit of the data.",
    ),
    REST: (
        "Golden response at rest: activity xbar with R xbar = x, one sample per row, in the unit of x.",
        "Certified bounds of the distance to the exact rest are in golden.npz (bound).",
    ),
    COURSE: (
        "Golden time course: activity xbar(t) of the first sample of golden_stimulus.csv, from xbar(0) = 0,",
        "under tau dxbar/dt = x - R xbar. Times in seconds, activities in the unit of x.",
    ),
}
