"""Record a circuit that settles and learns: settled samples at one interval, weights and correlation at another."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np

from neurodecorr._numerics.blas import add_product
from neurodecorr._typing import Floats
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.io import Variable
from neurodecorr.io.observer import Observable, Observer
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import State

EQUATION = "τ dx̄/dt = (x − μ) − R x̄ to rest; R[i, j] acts from unit j on unit i; then R learns from x̄"


class OnlineRecorder:
    """Write the traces of an online run to a file, in bounded memory.

    Parameters
    ----------
    path : path-like
        The file.
    n : int
        Units.
    dtype : dtype
        Type of R and x̄.
    every, weights_every : int
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
        weights_every: int,
        begin: int,
        provenance: dict[str, Any],
    ) -> None:
        settled = [
            Variable("xbar", (n,), dtype, description="settled activity, in the unit of the input"),
            Variable("residual", description="‖x − R x̄‖, in the unit of the input"),
            Variable("bound", description="certified bound of ‖x̄ − x̄*‖, in the unit of the input"),
        ]
        learnt = [
            Variable("margin", unit="1/τ", description="min Re λ(R)"),
            Variable("correlation", description="rms correlation coefficient of x̄ since the last row"),
            Variable("R", (n, n), dtype, description="lateral weights"),
        ]
        facts: dict[str, str | int | float] = {
            "step_description": "samples learnt from before the row was recorded",
            "every_samples": every,
            "weights_every_samples": weights_every,
            **{name: value for name, value in provenance["config"].items() if isinstance(value, str | float)},
        }
        observed = [
            Observable(settled, lambda _: self._block, every, begin, per_step=True),
            Observable(learnt, self._learnt, weights_every, begin),
        ]
        self._observer = Observer(path, observed, EQUATION, "samples", facts=facts, provenance=provenance)
        self._moment, self._sum, self._count = np.zeros((n, n), dtype), np.zeros(n), 0
        self._block: dict[str, Any] = {"bound": ()}

    def steps_left(self, seen: int, wanted: int) -> int:
        """Return how many of `wanted` samples to take before the next row of R."""
        return self._observer.steps_left(seen, wanted)

    def add(self, xbar: Floats, residual: Floats, bound: Floats) -> None:
        """Gather the covariance of a block of settled samples, which `observe` records."""
        add_product(self._moment, xbar, xbar, 1.0)
        self._sum += xbar.sum(axis=0, dtype=np.float64)
        self._count += len(xbar)
        self._block = {"xbar": xbar, "residual": residual, "bound": bound}

    def observe(self, learnt: State) -> None:
        """Record what is due of the block that was settled, and of what was learnt from it."""
        self._observer.observe(learnt.samples, learnt, len(self._block["bound"]))

    def finish(self, learnt: State) -> None:
        """Record weights, margin and correlation at the end, unless that has just been done."""
        self._observer.finish(learnt.samples, learnt)

    def _learnt(self, learnt: State) -> dict[str, Any]:
        values: dict[str, Any] = {"margin": Spectrum(learnt.R.astype(np.float64)).margin, "R": learnt.R}
        if self._count:
            mean = self._sum / self._count
            covariance = self._moment / self._count - np.outer(mean, mean)
            values["correlation"] = rms_correlation(covariance=covariance, samples=self._count)
        self._moment[:], self._sum[:], self._count = 0, 0, 0
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._observer.__exit__(*raised)
