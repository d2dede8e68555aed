"""Compiled walk of exact steps under an input that switches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._compile import jit

__all__ = ["TERMS", "walk"]

Array = npt.NDArray[Any]

# Of the series of the rest of a step, ‖hF‖ ≤ 1/2: 2⁻¹⁶/17! < 1e-19.
TERMS = 16


@jit()
def residual(A: Array, rates: Array, u: Array, z: Array, out: Array) -> None:
    """Write κ ∘ (u − A z) into `out`."""
    for i in range(z.size):
        total = A[i, 0] * z[0]
        for j in range(1, z.size):
            total += A[i, j] * z[j]
        out[i] = rates[i] * (u[i] - total)


@jit()
def add_product(Q: Array, r: Array, z: Array) -> None:
    """z ← z + Q r."""
    for i in range(z.size):
        total = Q[i, 0] * r[0]
        for j in range(1, z.size):
            total += Q[i, j] * r[j]
        z[i] += total


@jit()
def add_series(A: Array, rates: Array, h: float, r: Array, term: Array, z: Array) -> None:
    """z ← z + h Σ_k (−hF)^k r/(k+1)!; r and `term` are overwritten."""
    for i in range(z.size):
        r[i] *= h
        z[i] += r[i]
    for k in range(2, TERMS + 1):
        for i in range(z.size):
            total = A[i, 0] * r[0]
            for j in range(1, z.size):
                total += A[i, j] * r[j]
            term[i] = -h / k * rates[i] * total
        for i in range(z.size):
            r[i] = term[i]
            z[i] += r[i]


@jit()
def walk(
    A: Array,
    rates: Array,
    U: Array,
    Z: Array,
    Q: Array,
    order: Array,
    rest: Array,
    piece: Array,
    frame: Array,
    frames: Array,
) -> None:
    """Take all steps of each sample, in place, and save the states that were asked for.

    Parameters
    ----------
    A, rates : (N, N), (N,) arrays
        Matrix and rates of the dynamics.
    U : (pieces, samples, N) array
        Drives.
    Z : (samples, N) array
        States.
    Q : (count, N, N) array
        Propagators.
    order : (steps, most) array
        Propagators to apply in each step, −1 for none.
    rest : (steps,) array
        What is left of each step, for the series.
    piece, frame : (steps,) arrays
        Piece of the input, and frame at the end of each step, −1 for none.
    frames : (times, samples, N) array
        Receives the states.
    """
    r, term = np.empty(Z.shape[1], Z.dtype), np.empty(Z.shape[1], Z.dtype)
    for row in range(Z.shape[0]):
        z = Z[row]
        for k in range(piece.size):
            u = U[piece[k], row]
            for q in range(order.shape[1]):
                if order[k, q] >= 0:
                    residual(A, rates, u, z, r)
                    add_product(Q[order[k, q]], r, z)
            if rest[k] > 0:
                residual(A, rates, u, z, r)
                add_series(A, rates, rest[k], r, term, z)
            if frame[k] >= 0:
                for i in range(z.size):
                    frames[frame[k], row, i] = z[i]
