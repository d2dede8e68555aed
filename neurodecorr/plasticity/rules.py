"""The twin rules for mini-batches: M ← f(C) M and its exact partner R ← R f(C)⁻¹, in array-API code.

Rows of `X` are drives x − μ, rows of `Xbar` the settled activities x̄ = M x, R x̄ = x, and C = ⟨x̄x̄ᵀ⟩ is their second
moment. Every update has rank min(b, n): nothing here multiplies n × n by n × n while b < n.

===========  =====================================  ==========================================
rule         feedforward                            recurrent
===========  =====================================  ==========================================
explicit     M ← (I − ηC) M                         R ← R (I − ηC)⁻¹
implicit     M ← (I + ηC)⁻¹ M                       R ← R (I + ηC) = R + (η/b) Xᵀ X̄   ("local")
congruent    M ← A⁻¹ M A⁻¹, A = (I + ηC)^½          R ← A R A
===========  =====================================  ==========================================

Sources: P0 §3.2 and Appendix D for the explicit rule; the other two are derived in docs/theory.md.
"""

from __future__ import annotations

from array_api_compat import array_namespace, device

from neurodecorr._typing import AnyArray


def explicit_feedforward(M: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return M − η C M, the printed rule (P0 §3.2), as a product of rank b."""
    return M - (rate / Xbar.shape[0]) * (Xbar.T @ (Xbar @ M))


def explicit_recurrent(R: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return R (I − ηC)⁻¹ by the Woodbury identity; needs η λ_max(C) < 1."""
    B, moments = second_moment_modes(Xbar)
    return R + ((R @ B.T) * (rate / (1 - rate * moments))) @ B


def implicit_feedforward(M: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return (I + ηC)⁻¹ M, by the Woodbury identity where rows are few; shrinks every mode, for every η > 0.

    ::

        (I + ηC)⁻¹ M = M − (η/b) X̄ᵀ (I + (η/b) X̄X̄ᵀ)⁻¹ X̄ M
    """
    xp, (b, n), share = array_namespace(Xbar), Xbar.shape, rate / Xbar.shape[0]
    one = xp.eye(min(b, n), dtype=Xbar.dtype, device=device(Xbar))
    if b < n:
        return M - share * (Xbar.T @ xp.linalg.solve(one + share * (Xbar @ Xbar.T), Xbar @ M))
    return xp.linalg.solve(one + share * (Xbar.T @ Xbar), M)


def local_recurrent(R: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return R + η⟨x x̄ᵀ⟩: postsynaptic drive times presynaptic activity, exactly R (I + ηC)."""
    return R + (rate / Xbar.shape[0]) * (X.T @ Xbar)


def congruent_recurrent(R: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return A R A, A = (I + ηC)^½: a congruence, so R stays symmetric positive definite."""
    B, moments = second_moment_modes(Xbar)
    root = _root(moments, rate)
    return _congruence(R, B, rate / (1 + root))


def congruent_feedforward(M: AnyArray, X: AnyArray, Xbar: AnyArray, rate: float) -> AnyArray:
    """Return A⁻¹ M A⁻¹, A = (I + ηC)^½."""
    B, moments = second_moment_modes(Xbar)
    root = _root(moments, rate)
    return _congruence(M, B, -rate / (root * (1 + root)))


def second_moment_modes(Xbar: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return B (k, n) and λ (k,), k = min(b, n), with BᵀB = C and BBᵀ = diag(λ).

    Any f(C) − f(0)I is then Bᵀ diag((f(λ) − f(0))/λ) B.
    """
    xp = array_namespace(Xbar)
    b, n = Xbar.shape
    if b < n:
        moments, vectors = xp.linalg.eigh((Xbar @ Xbar.T) / b)
        return (vectors.T @ Xbar) / float(b) ** 0.5, _positive(moments)
    moments, vectors = xp.linalg.eigh((Xbar.T @ Xbar) / b)
    moments = _positive(moments)
    return xp.sqrt(moments)[:, None] * vectors.T, moments


def power_gain(X: AnyArray, Xbar: AnyArray, gain: str, bound: float = 2.0) -> AnyArray:
    """Return the gain that gives each unit (or the layer) the power it had before decorrelation.

    ::

        g = √(⟨x²⟩/⟨x̄²⟩)

    The root is Algorithm 1's; §3.2 of P0 prints the formula without it, which diverges. Silent units keep g = 1, and
    one batch changes the scale by at most `bound`.

    Parameters
    ----------
    X, Xbar : (b, n) arrays
        Drives and settled activities, before the update.
    gain : {"node", "layer", "none"}
        One gain per unit, one for the layer, or g = 1.
    bound : float, default 2
        Largest factor, either way.

    Returns
    -------
    (n,) array
        g.
    """
    xp = array_namespace(X)
    before, after = xp.mean(X * X, axis=0), xp.mean(Xbar * Xbar, axis=0)
    if gain == "layer":
        before, after = (xp.full_like(p, float(xp.mean(p))) for p in (before, after))
    silent = (before <= 0) | (after <= 0)
    if gain == "none":
        silent = xp.full_like(silent, True)
    one = xp.ones_like(before)
    ratio = xp.sqrt(xp.where(silent, one, before) / xp.where(silent, one, after))
    return xp.clip(ratio, 1 / bound, bound)


def homeostatic_gain(power: AnyArray, rate: float, gain: str, explicit: bool = False) -> AnyArray:
    """Return the gain g = 1 + η p of the input's own running power p, under which the rules rest at C = diag(p).

    The explicit rule shrinks by 1 − η c, so its gain is 1/(1 − η p). The gain weighs a sample by η, as the rule does.
    The ratio of powers (`power_gain`) does not: at a falling rate the last batch alone decides each unit's power, and
    under the congruent rule, whose gain acts on rows and columns at once, it may fall into a cycle of two steps.

    Parameters
    ----------
    power : (n,) array
        Running power of each unit's input.
    rate : float
        η.
    gain : {"node", "layer", "none"}
        Own power, mean power of the layer, or g = 1.
    explicit : bool, default False
        Whether the rule is the explicit one; then η p < 1 must hold.

    Returns
    -------
    (n,) array
        g.
    """
    xp = array_namespace(power)
    if gain == "none":
        return xp.ones_like(power)
    if gain == "layer":
        power = xp.full_like(power, float(xp.mean(power)))
    return 1 / (1 - rate * power) if explicit else 1 + rate * power


def _congruence(S: AnyArray, B: AnyArray, weights: AnyArray) -> AnyArray:
    """Return A S A for A = I + Bᵀ diag(w) B, symmetric to the bit."""
    middle = (B @ S) * weights[:, None]
    product = S + B.T @ middle
    product = product + ((product @ B.T) * weights) @ B
    return (product + product.T) / 2


def _root(moments: AnyArray, rate: float) -> AnyArray:
    return array_namespace(moments).sqrt(1 + rate * moments)


def _positive(moments: AnyArray) -> AnyArray:
    return array_namespace(moments).clip(moments, 0.0)
