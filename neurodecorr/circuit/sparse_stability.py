"""Stability of sparse circuits: few eigenvalues by Arnoldi, or bounds by passes over the synapses."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg

from neurodecorr._threads import one_thread
from neurodecorr.circuit.probe import least_gap, symmetric_part
from neurodecorr.circuit.sparse import LARGEST_EXACT, SparseCircuit
from neurodecorr.circuit.stability import Stability, from_bounds, from_eigenvalues, stability_of

__all__ = ["stability_of_sparse"]

# Arnoldi needs room for a Krylov space smaller than the matrix; more restarts than this are not waited for.
SMALLEST_ARNOLDI = 20
KRYLOV, RESTARTS, LOOSE = 60, 40, 1e-6


@stability_of.register(SparseCircuit)
def stability_of_sparse(circuit: SparseCircuit, method: str) -> Stability:
    """Find what `stability` returns without dense algebra, but for few units; `condition` is an upper bound."""
    if method == "auto":
        method = "dense" if circuit.size <= LARGEST_EXACT else "arnoldi"
    if method == "dense" or (method == "arnoldi" and circuit.size < SMALLEST_ARNOLDI):
        R = circuit.R.toarray().astype(np.float64)
        return from_eigenvalues(scipy.linalg.eigvals(R), "exact", float(np.linalg.cond(R)), circuit.tau)
    with one_thread():
        if method == "arnoldi":
            with suppress(scipy.sparse.linalg.ArpackNoConvergence):
                return from_eigenvalues(_extreme_eigenvalues(circuit.R), "estimate", _condition(circuit), circuit.tau)
        margin = _discs(circuit.R)
        if method != "gershgorin":
            margin = max(margin, _numerical_margin(circuit))
        return from_bounds(margin, min(_sums(circuit.R)), _condition(circuit), circuit.tau)


def _extreme_eigenvalues(R: Any) -> npt.NDArray[Any]:
    """Return the eigenvalues of least real part and of largest modulus, from a fixed start."""
    wide = R.astype(np.float64)
    symmetric = abs(wide - wide.T).sum() == 0
    find = scipy.sparse.linalg.eigsh if symmetric else scipy.sparse.linalg.eigs
    start = np.random.default_rng(0).standard_normal(R.shape[0])
    room = {"ncv": min(R.shape[0] - 1, KRYLOV), "maxiter": RESTARTS, "tol": LOOSE}
    ends = ("SA", "LM") if symmetric else ("SR", "LM")
    return np.concatenate([find(wide, 2, which=end, v0=start, return_eigenvectors=False, **room) for end in ends])


def _numerical_margin(circuit: SparseCircuit) -> float:
    """Return a lower bound of λ_min((R + Rᵀ)/2): discs, or what the random vectors of the certificate have proven."""
    discs = least_gap(symmetric_part(circuit.R), 1, signed=True)
    return max(discs, circuit.sigma.low) if circuit.sigma.kind == "probe" else discs


def _discs(R: Any) -> float:
    """Return Gershgorin's bound of min Re λ, the better of those by rows and by columns."""
    return max(least_gap(R, axis, signed=True) for axis in (0, 1))


def _sums(R: Any) -> tuple[float, float]:
    """Return the largest column sum and the largest row sum of |R|; each bounds |λ|."""
    size = abs(R.astype(np.float64))
    return float(size.sum(axis=0).max()), float(size.sum(axis=1).max())


def _condition(circuit: SparseCircuit) -> float:
    """Return an upper bound of σ_max/σ_min: σ_max² ≤ the largest row sum times the largest column sum."""
    low = circuit.sigma.low
    return math.sqrt(math.prod(_sums(circuit.R))) / low if low > 0 else math.inf
