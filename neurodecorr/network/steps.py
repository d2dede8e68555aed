"""One step of the twin rules, in place: M ← g∘(f(C) M) and R ← (R f(C)⁻¹)/g, C = ⟨x̄x̄ᵀ⟩.

What `plasticity.twins` says of whole arrays, as products that write into M and R. With fewer rows than features
nothing multiplies n × n by n × n; with more of them (patches of a convolution) C itself is the smaller matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr.errors import DivergenceError
from neurodecorr.network import kernels, panels
from neurodecorr.network.algebra import add_product, alike, as_numpy, identity, product, solve_positive
from neurodecorr.plasticity import twins

__all__ = ["grow", "norm_ratio", "power_gain", "require_small_step", "shrink", "shrink_columns"]

Array = Any  # any array-API array
Gain = Any  # a float for the whole layer, or an (n,) array


def power_gain(drive: Array, Xbar: Array, gain: str) -> Gain:
    """Return g = √(⟨x²⟩/⟨x̄²⟩), per unit or for the layer; see `plasticity.twins.power_gain`."""
    if gain == "none":
        return 1.0
    if gain == "layer" and isinstance(drive, np.ndarray):
        sums = np.array([[_power(drive)], [_power(Xbar)]]) ** 0.5
        return float(twins.power_gain(sums[:1], sums[1:], gain)[0])
    found = twins.power_gain(drive, Xbar, gain)
    return found if gain == "node" else float(found[0])


def norm_ratio(X: Array, Xbar: Array) -> float:
    """Return g = ⟨‖x‖/√(‖x̄‖² + 1e-8)⟩ over the rows: the gain of P0's public code, which leaves the mean in x."""
    xp = array_namespace(X)
    before, after = (xp.sum(A * A, axis=1) for A in (X, Xbar))
    return float(xp.mean(xp.sqrt(before / (after + 1e-8))))


def require_small_step(Xbar: Array, rate: float) -> None:
    """Raise unless η λ_max(C) < 1, which the explicit rule needs; η tr(C) < 1 is enough, and cheap.

    Raises
    ------
    DivergenceError
        If the step would turn a direction of x̄ round, or x̄ is not finite.
    """
    xp, rows = array_namespace(Xbar), Xbar.shape[0]
    if rate * _power(Xbar) / rows < 1:
        return
    gram = product(Xbar, Xbar.T) if rows < Xbar.shape[1] else product(Xbar.T, Xbar)
    whole = as_numpy(gram).astype(float)
    largest = float(xp.linalg.eigvalsh(alike(whole, gram))[-1]) / rows if (whole * 0 == 0).all() else float("nan")
    if not rate * largest < 1:
        raise DivergenceError(
            f"the explicit rule needs η λ_max(C) < 1; got rate {rate:g} × {largest:.3g}. "
            "Lower the rate of decorrelation, use rule='implicit', or scale the inputs down."
        )


def shrink(M: Array, Xbar: Array, rule: str, rate: float, gain: Gain) -> None:
    """M ← g∘((I − ηC) M) (explicit) or g∘((I + ηC)⁻¹ M) (implicit), in place."""
    rows, n = Xbar.shape
    if rows < n and n >= panels.LEAST and _lie_alike(M, Xbar):
        pulling = solve_positive(_gram(Xbar, rate), Xbar) if rule == "implicit" else Xbar
        panels.step_down(M, Xbar, pulling * (rate / rows), alike(np.broadcast_to(gain, n), M))
        return
    if rows < n:
        pulled = product(Xbar, M)
        if rule == "implicit":
            pulled = solve_positive(_gram(Xbar, rate), pulled)
        _add(M, Xbar, pulled, -rate / rows, gain)
        return
    C = product(Xbar.T, Xbar, 1 / rows)
    if rule == "explicit":
        M -= product(C, M, rate)
    else:
        M[...] = solve_positive(identity(C, n) + rate * C, M)
    M *= gain if isinstance(gain, float) else gain[:, None]


def shrink_columns(M: Array, Xbar: Array, rate: float, gain: Gain) -> None:
    """M ← g∘(M (I − ηC)), in place: the order of P0's public code. With a gain per node it does not decorrelate."""
    _add(M, product(Xbar, M.T), Xbar, -rate / Xbar.shape[0], gain)


def _add(M: Array, Xbar: Array, pulled: Array, weight: float, gain: Gain) -> None:
    """M ← g∘(M + weight X̄ᵀ pulled); the gain of a layer needs no pass of its own."""
    if isinstance(gain, float):
        add_product(M, Xbar.T, pulled, weight * gain, gain)
        return
    M *= gain[:, None]
    add_product(M, (Xbar * gain).T, pulled, weight)


def grow(R: Array, drive: Array, Xbar: Array, rule: str, rate: float, gain: Gain) -> None:
    """R ← (R (I − ηC)⁻¹)/g (explicit) or (R (I + ηC))/g (implicit: local), in place, by R x̄ = x − μ.

    The implicit step is postsynaptic drive times presynaptic activity. Neither needs a product with R.
    """
    rows, n = Xbar.shape
    if rule == "explicit" and rows >= n:
        C = product(Xbar.T, Xbar, 1 / rows)
        R[...] = solve_positive(identity(C, n) - rate * C, array_namespace(R).asarray(R.T, copy=True)).T
    else:
        pulling = solve_positive(_gram(Xbar, -rate), Xbar) if rule == "explicit" else Xbar
        if isinstance(gain, float):
            add_product(R, drive.T, pulling, rate / (rows * gain), 1 / gain)
            return
        add_product(R, drive.T, pulling, rate / rows)
    R /= gain


def _power(X: Array) -> float:
    """Return the sum of all squares."""
    if isinstance(X, np.ndarray):
        return float(kernels.squares(np.ascontiguousarray(X)))
    return float(array_namespace(X).sum(X * X))


def _lie_alike(M: Array, Xbar: Array) -> bool:
    return all(isinstance(A, np.ndarray) and A.flags.c_contiguous for A in (M, Xbar)) and M.dtype == Xbar.dtype


def _gram(Xbar: Array, rate: float) -> Array:
    """Return I + (η/b) X̄X̄ᵀ."""
    rows = Xbar.shape[0]
    return identity(Xbar, rows) + product(Xbar, Xbar.T, rate / rows)
