"""How errors of the weights reach the outputs: first order, and second where that fails."""

from __future__ import annotations

import numpy as np

from neurodecorr._typing import Floats

# Inputs that the second order is averaged over.
SAMPLES = 32


def first_order(
    M: Floats, variance: Floats, Xbar: Floats, bias: Floats | None = None, shared: Floats | None = None
) -> float:
    """Return the mean square error of the outputs, to first order in the errors of R.

    ::

        δx̄ = −M δR x̄:    mean_i [ Σ_jk M_ij² V_jk x̄_k² + (M B x̄)_i² + (Σ_j M_ij)² Σ_k s_k x̄_k² ]

    averaged over the samples. With V_jk = σ² R_jk² the root is the rms of mismatch, √mean((M∘M)(σR∘σR)(x̄∘x̄)). In an
    open loop, where M itself is off, pass the identity for `M` and the inputs for `Xbar`.

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.
    bias : (n, n) array, optional
        B of `Moments`.
    shared : (n,) array, optional
        s of `Moments`.

    Returns
    -------
    float
    """
    power = (Xbar**2).mean(axis=0)
    total = float(((M**2) @ (variance @ power)).mean())
    if bias is not None:
        total += float(((Xbar @ bias.T @ M.T) ** 2).mean())
    if shared is not None:
        total += float((M.sum(axis=1) ** 2).mean() * (shared @ power))
    return total


def strain(M: Floats, variance: Floats) -> float:
    """Return how much a further order of the expansion adds to the mean square, relative to the one before.

    ::

        ρ((M∘M) V),    ρ the spectral radius

    Above 1 the mean square over chips has no finite expansion; chips near singular decide it.

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.

    Returns
    -------
    float
    """
    return float(np.abs(np.linalg.eigvals((M**2) @ variance)).max())


def second_order(M: Floats, variance: Floats, Xbar: Floats) -> float:
    """Return the mean square error of the outputs, to second order in independent normal errors of R.

    ::

        δx̄ = (−MD + MDMD − MDMDMD) x̄,    E‖δx̄‖² to order V², by Wick's theorem:
        (M∘M)V(x̄∘x̄) + (M∘M)V(M∘M)V(x̄∘x̄) + (M W x̄)² + 3 diag(M (Q∘Qᵀ) Mᵀ)
          + 2 (M∘M)(V∘(x̄ ∘ M W x̄)) + 2 (M ∘ M W M) V (x̄∘x̄),    W = V∘Mᵀ,  Q = V diag(x̄) M

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors; what the second order adds is averaged over at most 32 of them.

    Returns
    -------
    float
    """
    if not variance.any():
        return 0.0
    squares, W = M**2, variance * M.T
    rows = Xbar[:: max(1, len(Xbar) // SAMPLES)][:SAMPLES]
    energy, shifted = rows**2 @ variance.T, rows @ W.T @ M.T
    total = energy @ squares.T + (energy @ squares.T) @ variance.T @ squares.T + shifted**2
    total += 2 * ((rows * shifted) @ variance.T) @ squares.T + 2 * energy @ (M * (M @ W @ M)).T
    crossed = np.empty_like(total)
    for k, x in enumerate(rows):
        Q = (variance * x) @ M
        crossed[k] = np.einsum("ia,ac,ic->i", M, Q * Q.T, M, optimize=True)
    # What the orders add is averaged over fewer samples than the first order itself.
    return first_order(M, variance, Xbar) * float((total + 3 * crossed).mean() / (energy @ squares.T).mean())


def shared_order(M: Floats, shared: Floats, Xbar: Floats) -> float:
    """Return the mean square error of the outputs, to second order in errors that all rows of a column share.

    ::

        δR = 1 εᵀ, Var[ε] = s:    δx̄ = −u a/(1 + c),    u = M 1,  a = ε·x̄,  c = ε·u
        E‖δx̄‖² = ‖u‖² (⟨a²⟩ + 3⟨a²⟩⟨c²⟩ + 6⟨ac⟩²)

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    shared : (n,) array
        s of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.

    Returns
    -------
    float
    """
    u = M.sum(axis=1)
    power, cross = Xbar**2 @ shared, Xbar @ (shared * u)
    return float((u**2).mean() * (power + 3 * power * (shared @ u**2) + 6 * cross**2).mean())


def shared_strain(M: Floats, shared: Floats) -> float:
    """Return the strain of errors that all rows of a column share: ⟨c²⟩ of `shared_order`."""
    return float(shared @ M.sum(axis=1) ** 2)


def mean_shift(M: Floats, variance: Floats, shared: Floats, Xbar: Floats) -> Floats:
    """Return by how much errors without a mean of their own shift the mean output, to second order.

    ::

        E[δx̄] = E[M D M D] x̄ = M (V∘Mᵀ) x̄ + M1 ((s∘M1)·x̄)

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    shared : (n,) array
        s of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.

    Returns
    -------
    (samples, n) array
    """
    u = M.sum(axis=1)
    return np.asarray(Xbar @ (M @ (variance * M.T)).T + np.outer(Xbar @ (shared * u), u))
