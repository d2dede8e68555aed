"""What a living circuit leaves on disk: settled samples at one interval, weights and correlation at another."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from neurodecorr._blas import add_product
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import State
from neurodecorr.recording import Recorder, Variable

__all__ = ["Diary"]

Floats = npt.NDArray[np.floating[Any]]
EQUATION = "τ dx̄/dt = (x − μ) − R x̄ to rest; R[i, j] acts from unit j on unit i; then R learns from x̄"


class Diary:
    """Write what happens to a file of traces, in bounded memory.

    Parameters
    ----------
    path : path-like
        The file.
    n : int
        Units.
    dtype : dtype
        Type of R and x̄.
    every, look_every : int
        Samples between two recordings of x̄, and of R.
    begin : int
        Samples seen before.
    provenance : dict
        Where the run came from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n: int,
        dtype: np.dtype[Any],
        every: int,
        look_every: int,
        begin: int,
        provenance: dict[str, Any],
    ) -> None:
        variables = [
            Variable("xbar", (n,), dtype, description="settled activity, in the unit of the input"),
            Variable("residual", description="‖x − R x̄‖, in the unit of the input"),
            Variable("bound", description="certified bound of ‖x̄ − x̄*‖, in the unit of the input"),
            Variable("margin", unit="1/τ", description="min Re λ(R)"),
            Variable("correlation", description="rms correlation coefficient of x̄ since the last look"),
            Variable("R", (n, n), dtype, description="lateral weights"),
        ]
        self.every, self.look_every, self.begin = every, look_every, begin
        told = {
            "equation": EQUATION,
            "tau": 1.0,
            "tau_unit": "τ",
            "step_unit": "samples",
            "step_description": "samples learnt from before the row was recorded",
            "every_samples": every,
            "look_every_samples": look_every,
            **{name: value for name, value in provenance["config"].items() if isinstance(value, str | float)},
        }
        self._recorder = Recorder(path, variables, provenance=provenance, metadata=told)
        self._moment, self._sum, self._count = np.zeros((n, n), dtype), np.zeros(n), 0

    def room(self, seen: int, wanted: int) -> int:
        """Return how many of `wanted` samples to live through before the next look."""
        return min(wanted, self.look_every - (seen - self.begin) % self.look_every)

    def settled(self, seen: int, xbar: Floats, residual: Floats, bound: Floats) -> None:
        """Record every k-th of these samples, `seen` of them having come before; gather their covariance."""
        add_product(self._moment, xbar, xbar, 1.0)
        self._sum += xbar.sum(axis=0, dtype=np.float64)
        self._count += len(xbar)
        for row in range(self.every - 1 - (seen - self.begin) % self.every, len(xbar), self.every):
            values = {"xbar": xbar[row], "residual": residual[row], "bound": bound[row]}
            self._recorder.record(seen + row + 1, values)

    def look(self, learnt: State) -> None:
        """Record weights, margin and correlation if that is due."""
        if (learnt.samples - self.begin) % self.look_every == 0:
            self._look(learnt)

    def last_look(self, learnt: State) -> None:
        """Record weights, margin and correlation at the end, unless that has just been done."""
        if self._count:
            self._look(learnt)

    def _look(self, learnt: State) -> None:
        values: dict[str, Any] = {"margin": Spectrum(learnt.R.astype(np.float64)).margin, "R": learnt.R}
        if self._count:
            mean = self._sum / self._count
            covariance = self._moment / self._count - np.outer(mean, mean)
            values["correlation"] = rms_correlation(covariance=covariance, samples=self._count)
        self._recorder.record(learnt.samples, values)
        self._moment[:], self._sum[:], self._count = 0, 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.__exit__(kind, error, trace)
