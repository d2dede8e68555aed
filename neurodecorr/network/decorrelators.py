"""The states that decorrelate the input of a layer; all answer the same questions.

Rows are samples (of a convolution: patches). `centre` subtracts the mean, `decorrelate` maps drives x − μ to x̄,
`turn_back` applies the transpose of the derivative of that map, `learn` changes it after a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.circuit import Circuit, settle
from neurodecorr.circuit.settle import METHODS
from neurodecorr.errors import ConfigError, DivergenceError
from neurodecorr.network import kernels, panels
from neurodecorr.network.algebra import add_matrix_product, alike, as_numpy, identity, product, solve_positive
from neurodecorr.plasticity import guards, rules

FORMS = ("none", "feedforward", "recurrent", "batch_norm")
GAINS = ("node", "layer", "none", "norms")
ORDERS = ("CM", "MC")
MEANS = ("running", "batch", "none")


@short_repr
@dataclass(frozen=True)
class Decorrelation:
    """Describe how the input of a layer is decorrelated (P0 Algorithm 1).

    Parameters
    ----------
    form : {"none", "feedforward", "recurrent", "batch_norm"}
        x̄ = x; x̄ = M(x − μ); the rest of τ dx̄/dt = x − μ − R x̄; or (x − μ)/σ of each unit over the batch.
    rule : {"implicit", "explicit", "congruent"}
        Law by which M or R is learnt; "local" is another name of "implicit". See `plasticity.rules`.
    rate : float
        η_M of one batch, in the unit that `rate_is` names.
    gain : {"node", "layer", "none", "norms"}
        Whose power is kept: g = √(⟨x²⟩/⟨x̄²⟩) per batch; for the congruent rule g = 1 + η p of the running power p.
        "norms" is what P0's public code does, one number for the layer: g = ⟨‖x‖/√(‖x̄‖² + 1e-8)⟩, μ left in x.
    share : float
        Share of the samples of a batch that an update reads, in (0, 1]: the first ⌊share · b⌋ + 1, or all b. P0's
        public code reads a tenth.
    memory : float
        Weight of a batch in the running mean μ, in (0, 1]; 0.1 in P0.
    mean : {"running", "batch", "none"}
        What is subtracted while learning; at test it is the running mean.
    settling : str
        How the rest of a recurrent layer is found. "twin": by x̄ = M (x − μ), M = R⁻¹ being kept beside R by rank-k
        updates. Otherwise by a method of `circuit.settle`, in float64.
    tol : float
        Tolerance of settling, relative to ‖x̄‖.
    order : {"CM", "MC"}
        M ← g (I − ηC) M, as P0 prints it, or M ← g M (I − ηC), as the dense layers of its public code have it.
    mean_passes : bool
        Whether a gradient passes through the mean of a batch, too; otherwise μ counts as constant.
    rate_is : {"relative", "absolute"}
        Unit of the rate: one over the mean power of the layer's drives x − μ, followed as μ is, or 1/x² as they come,
        which is P0's. A layer without input does not learn at a relative rate.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """

    form: str = "none"
    rule: str = "implicit"
    rate: float = 1e-3
    gain: str = "layer"
    share: float = 1.0
    memory: float = 0.1
    mean: str = "running"
    settling: str = "twin"
    tol: float = 1e-6
    order: str = "CM"
    mean_passes: bool = False
    rate_is: str = "relative"

    def __post_init__(self) -> None:
        _validation.choice(self.form, "form", FORMS)
        object.__setattr__(self, "rule", _validation.rule_name(self.rule))
        _validation.choice(self.rate_is, "rate_is", _validation.RATES)
        _validation.choice(self.gain, "gain", GAINS)
        _validation.choice(self.mean, "mean", MEANS)
        _validation.choice(self.settling, "settling", ("twin", *METHODS))
        _validation.choice(self.order, "order", ORDERS)
        for name in ("rate", "tol"):
            _validation.positive(getattr(self, name), name)
        for name in ("share", "memory"):
            _validation.positive(_validation.fraction(getattr(self, name), name), name)
        _validation.flag(self.mean_passes, "mean_passes")
        if self.order == "MC" and (self.form == "recurrent" or self.rule != "explicit"):
            raise ConfigError(
                "order='MC' is the explicit rule of M in the order of P0's public code; got "
                f"form={self.form!r}, rule={self.rule!r}. Use form='feedforward' and rule='explicit', or order='CM'."
            )
        if self.gain == "norms" and self.rule == "congruent":
            raise ConfigError("gain must be 'node', 'layer' or 'none' for the congruent rule; got 'norms'.")

    @property
    def relative(self) -> bool:
        """Whether the rate is relative to the mean input power."""
        return self.rate_is == "relative"

    @classmethod
    def public_code(cls, rate: float = 1e-5, *, patches: bool = False) -> Decorrelation:
        """Return what P0's public code does to the input of a layer (docs/ledger.md, D1 to D6, D12, D18).

        Parameters
        ----------
        rate : float
            η_M of a dense layer, absolute.
        patches : bool
            Whether the layer is a convolution: these keep the printed order, at a rate of 1e-5 whatever is asked for.

        Examples
        --------
        >>> Decorrelation.public_code(1e-6).order, Decorrelation.public_code(1e-6, patches=True).rate
        ('MC', 1e-05)
        """
        order, rate = (
            ("CM", 1e-5) if _validation.flag(patches, "patches") else ("MC", _validation.positive(rate, "rate"))
        )
        law = cls("feedforward", "explicit", rate, "norms", share=0.1, memory=0.1, mean="batch")
        return replace(law, order=order, mean_passes=True, rate_is="absolute")


Gain = Any  # a float for the whole layer, or an (n,) array


def layer_power_gain(drive: AnyArray, Xbar: AnyArray, gain: str) -> Gain:
    """Return g = √(⟨x²⟩/⟨x̄²⟩), per unit or for the layer; see `plasticity.rules.power_gain`.

    Reference: Ahmad (2024), arXiv:2407.10780, Appendix C.
    """
    if gain == "none":
        return 1.0
    if gain == "layer" and isinstance(drive, np.ndarray):
        sums = np.array([[_power(drive)], [_power(Xbar)]]) ** 0.5
        return float(rules.power_gain(sums[:1], sums[1:], gain)[0])
    found = rules.power_gain(drive, Xbar, gain)
    return found if gain == "node" else float(found[0])


def norm_ratio(X: AnyArray, Xbar: AnyArray) -> float:
    """Return g = ⟨‖x‖/√(‖x̄‖² + 1e-8)⟩ over the rows: the gain of P0's public code, which leaves the mean in x."""
    xp = array_namespace(X)
    before, after = (xp.sum(A * A, axis=1) for A in (X, Xbar))
    return float(xp.mean(xp.sqrt(before / (after + 1e-8))))


def require_small_step(Xbar: AnyArray, rate: float) -> None:
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


def shrink(M: AnyArray, Xbar: AnyArray, rule: str, rate: float, gain: Gain) -> None:
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


def shrink_columns(M: AnyArray, Xbar: AnyArray, rate: float, gain: Gain) -> None:
    """M ← g∘(M (I − ηC)), in place: the order of P0's public code. With a gain per node it does not decorrelate."""
    _add(M, product(Xbar, M.T), Xbar, -rate / Xbar.shape[0], gain)


def _add(M: AnyArray, Xbar: AnyArray, pulled: AnyArray, weight: float, gain: Gain) -> None:
    """M ← g∘(M + weight X̄ᵀ pulled); the gain of a layer needs no pass of its own."""
    if isinstance(gain, float):
        add_matrix_product(M, Xbar.T, pulled, weight * gain, gain)
        return
    M *= gain[:, None]
    add_matrix_product(M, (Xbar * gain).T, pulled, weight)


def apply_gain(R: AnyArray, drive: AnyArray, Xbar: AnyArray, rule: str, rate: float, gain: Gain) -> None:
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
            add_matrix_product(R, drive.T, pulling, rate / (rows * gain), 1 / gain)
            return
        add_matrix_product(R, drive.T, pulling, rate / rows)
    R /= gain


def mean_power(X: AnyArray) -> float:
    """Return the mean of all squares of X, which has at least one row."""
    return _power(X) / float(X.shape[0] * X.shape[1])


def _power(X: AnyArray) -> float:
    """Return the sum of all squares."""
    if isinstance(X, np.ndarray):
        return float(kernels.squares(np.ascontiguousarray(X)))
    return float(array_namespace(X).sum(X * X))


def _lie_alike(M: AnyArray, Xbar: AnyArray) -> bool:
    return all(isinstance(A, np.ndarray) and A.flags.c_contiguous for A in (M, Xbar)) and M.dtype == Xbar.dtype


def _gram(Xbar: AnyArray, rate: float) -> AnyArray:
    """Return I + (η/b) X̄X̄ᵀ."""
    rows = Xbar.shape[0]
    return identity(Xbar, rows) + product(Xbar, Xbar.T, rate / rows)


def settle_rows(R: AnyArray, U: AnyArray, plan: Decorrelation) -> AnyArray:
    """Return where τ dx̄/dt = u − R x̄ settles for each row u of U.

    The circuit runs in numpy and float64, whatever U is: a certificate to `plan.tol` has no room for single precision.

    Raises
    ------
    DivergenceError
        If a row does not settle to the tolerance.
    StabilityError
        If the circuit is not stable.
    """
    drives = as_numpy(U).astype(float)
    if not np.isfinite(drives).all():
        raise DivergenceError(f"a recurrent layer was driven by {np.abs(drives).max()}. Lower the rates.")
    found = settle(Circuit(as_numpy(R).astype(float)), drives, plan.tol, relative=True, method=plan.settling)
    failed = np.flatnonzero(~found.settled)
    if failed.size:
        row = int(failed[0])
        raise DivergenceError(
            f"a recurrent layer must settle to {plan.tol:g} of x̄; {failed.size} of {len(drives)} rows did not by "
            f"{found.method!r} (row {row}: {found.outcome[row]}, bound {found.bound[row]:.2g}). "
            "Lower the rate of decorrelation, raise tol, or set settling='direct'."
        )
    return alike(found.xbar, U)


_KEPT = ("M", "mean")  # what x̄ = M (x − μ) needs
VARIANCE_FLOOR = 1e-5  # added to the variances of batch norm, as is usual
ROUNDING = 64  # units of rounding that M x̄ may always be off


class Decorrelator(Protocol):
    """Interface between a layer and the state that decorrelates its input.

    `arrays` holds everything that learning changes, by name: what a checkpoint has to keep.
    """

    plan: Decorrelation
    arrays: dict[str, AnyArray]

    @property
    def folds(self) -> bool:
        """Whether x̄ = M (x − μ) with an M that is kept, so that W M may stand for W and M."""

    def frozen(self, training: bool, batch_mean: Callable[[], AnyArray]) -> tuple[AnyArray | None, AnyArray | None]:
        """Return copies of M and of the μ that is subtracted; None for the identity, and for 0."""

    def rows_read(self, samples: int) -> int:
        """Return how many rows of so many samples an update reads x̄ of."""

    def centre(self, X: AnyArray, training: bool) -> AnyArray:
        """Return the drives x − μ."""

    def decorrelate(self, drive: AnyArray, training: bool = False) -> AnyArray:
        """Return x̄ for each drive."""

    def turn_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return the gradient at x − μ for each gradient e at x̄, given the signals of the batch.

        The mean μ counts as constant, except in batch norm.
        """

    def settle_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return the same from the adjoint circuit, settled by the method of the plan."""

    def through_mean(self, E: AnyArray, found: Any) -> AnyArray:
        """Return the gradient at x for that at x − μ: another one where the plan says that it passes the mean."""

    def learn(self, found: Any) -> None:
        """Change the map and the running mean after one batch, whose signals they are."""

    def as_ode(self) -> tuple[AnyArray | None, AnyArray | None]:
        """Return A and B of τ dx̄/dt = A (x − μ) − B x̄; None is the identity."""


class Plain:
    """No decorrelation: x̄ = x."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        self.plan, self.arrays, self.folds = plan, dict[str, AnyArray](), True

    def frozen(self, training: bool, batch_mean: Callable[[], AnyArray]) -> tuple[AnyArray | None, AnyArray | None]:
        """Nothing stands between x and x̄."""
        return None, None

    def rows_read(self, samples: int) -> int:
        """Return 0: nothing learns, and W alone is no dearer than W."""
        return 0

    def centre(self, X: AnyArray, training: bool) -> AnyArray:
        """Return x."""
        return X

    def decorrelate(self, drive: AnyArray, training: bool = False) -> AnyArray:
        """Return x."""
        return drive

    def turn_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return e."""
        return E

    settle_back = through_mean = turn_back

    def learn(self, found: Any) -> None:
        """Learn nothing."""

    def as_ode(self) -> tuple[AnyArray | None, AnyArray | None]:
        """τ dx̄/dt = x − x̄."""
        return None, None


class _Centred:
    """A running mean μ, and the choice of what is subtracted; `rows` is their number per sample."""

    folds = False

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        self.plan, self.rows, self.arrays = plan, rows, {"mean": np.zeros(features, dtype)}

    def centre(self, X: AnyArray, training: bool) -> AnyArray:
        """Return x − μ with the running mean, or while learning that of the batch if the plan says so."""
        if self.plan.mean == "none":
            return X
        batchwise = training and self.plan.mean == "batch"
        return X - (array_namespace(X).mean(X, axis=0) if batchwise else self.arrays["mean"])

    def _follow(self, name: str, now: AnyArray) -> None:
        followed = self.arrays[name]
        followed += self.plan.memory * (now - followed)

    def frozen(self, training: bool, batch_mean: Callable[[], AnyArray]) -> tuple[AnyArray | None, AnyArray | None]:
        """Return copies of M and of the μ that is subtracted, None for 0."""
        copied = {name: array_namespace(a).asarray(a, copy=True) for name, a in self.arrays.items() if name in _KEPT}
        if self.plan.mean == "none":
            return copied["M"], None
        return copied["M"], batch_mean() if training and self.plan.mean == "batch" else copied["mean"]

    def rows_read(self, samples: int) -> int:
        """Return how many rows of so many samples an update reads: those of the first samples of the batch."""
        return min(samples, int(self.plan.share * samples) + 1) * self.rows

    def through_mean(self, E: AnyArray, found: Any) -> AnyArray:
        """Return e, or where the gradient passes the mean of the batch, e − ⟨e⟩."""
        passes = self.plan.mean_passes and self.plan.mean == "batch" and found.training
        return E - array_namespace(E).mean(E, axis=0) if passes else E


class _Lateral(_Centred):
    """What the two forms share: the rate of a batch, the step of their rule on M, and the gain of the congruent rule.

    A relative rate needs the mean power p of the drives. `arrays["drive_power"]` holds the running p and the running
    weight of all that it has seen, which begins at 0: their ratio is p without what is missing at the start.
    """

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        if plan.rule == "congruent":
            self.arrays["power"] = np.zeros(features, dtype)
        if plan.relative:
            self.arrays["drive_power"] = np.zeros(2, dtype)

    @property
    def folds(self) -> bool:  # type: ignore[override]
        """Whether M is kept: a circuit that settles by another method has none."""
        return "M" in self.arrays

    def learn(self, found: Any) -> None:
        """Take one step of the rule with the rows that are read; μ follows."""
        read = found.head(self.rows_read(found.h.shape[0] // self.rows))
        drive, Xbar, xp = read.drive, read.xbar, array_namespace(read.drive)
        plan, rate = self.plan, self._rate(drive)
        if plan.rule == "congruent":
            self._follow("power", xp.mean(drive * drive, axis=0))
            gain = rules.homeostatic_gain(self.arrays["power"], rate, plan.gain)
            self._congruent(drive, Xbar, rate, xp.sqrt(gain))
        else:
            if plan.rule == "explicit":
                require_small_step(Xbar, rate)
            gain = norm_ratio(read.x, Xbar) if plan.gain == "norms" else layer_power_gain(drive, Xbar, plan.gain)
            self._step(drive, Xbar, rate, gain)
        self._follow("mean", found.mean_input())

    def _rate(self, drive: AnyArray) -> float:
        """Return η in units of 1/x²; 0 for a relative rate before any input had power."""
        if not self.plan.relative:
            return self.plan.rate
        followed = self.arrays["drive_power"]
        self._follow("drive_power", alike([mean_power(drive), 1.0], followed))
        power, weight = float(followed[0]), float(followed[1])
        return 0.0 if power == 0 else self.plan.rate * weight / power

    def _step(self, drive: AnyArray, Xbar: AnyArray, rate: float, gain: Any) -> None:
        shrink(self.arrays["M"], Xbar, self.plan.rule, rate, gain)

    def _congruent(self, drive: AnyArray, Xbar: AnyArray, rate: float, root: AnyArray) -> None:
        M = self.arrays["M"]
        M[...] = rules.congruent_feedforward(M, drive, Xbar, rate) * (root[:, None] * root[None, :])


class Feedforward(_Lateral):
    """x̄ = M (x − μ).

    Reference: Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["M"] = np.eye(features, dtype=dtype)

    def decorrelate(self, drive: AnyArray, training: bool = False) -> AnyArray:
        """Return M (x − μ)."""
        return product(drive, self.arrays["M"].T)

    def turn_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return Mᵀe."""
        return product(E, self.arrays["M"])

    def settle_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return Mᵀe as the rest of τ dδ̄/dt = e − Rᵀδ̄, R = M⁻¹."""
        if self.plan.settling == "twin":
            return self.turn_back(E, found)
        return settle_rows(array_namespace(E).linalg.inv(self.arrays["M"]).T, E, self.plan)

    def as_ode(self) -> tuple[AnyArray | None, AnyArray | None]:
        """τ dx̄/dt = M (x − μ) − x̄."""
        return self.arrays["M"], None

    def _step(self, drive: AnyArray, Xbar: AnyArray, rate: float, gain: Any) -> None:
        if self.plan.order == "MC":
            shrink_columns(self.arrays["M"], Xbar, rate, gain)
        else:
            super()._step(drive, Xbar, rate, gain)


class Recurrent(_Lateral):
    """The rest of τ dx̄/dt = x − μ − R x̄, found by M = R⁻¹ beside R or by a method of `circuit.settle`."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["R"] = np.eye(features, dtype=dtype)
        if plan.settling == "twin":
            self.arrays["M"] = np.eye(features, dtype=dtype)

    def decorrelate(self, drive: AnyArray, training: bool = False) -> AnyArray:
        """Return where the circuit settles."""
        if "M" in self.arrays:
            return product(drive, self.arrays["M"].T)
        return settle_rows(self.arrays["R"], drive, self.plan)

    def turn_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return where the adjoint circuit τ dδ̄/dt = e − Rᵀδ̄ settles: Mᵀe."""
        if "M" in self.arrays:
            return product(E, self.arrays["M"])
        return settle_rows(self.arrays["R"].T, E, self.plan)

    settle_back = turn_back

    def as_ode(self) -> tuple[AnyArray | None, AnyArray | None]:
        """τ dx̄/dt = (x − μ) − R x̄."""
        return None, self.arrays["R"]

    def _step(self, drive: AnyArray, Xbar: AnyArray, rate: float, gain: Any) -> None:
        apply_gain(self.arrays["R"], drive, Xbar, self.plan.rule, rate, gain)
        if "M" in self.arrays:
            super()._step(drive, Xbar, rate, gain)
            self._keep_inverse(drive)

    def _congruent(self, drive: AnyArray, Xbar: AnyArray, rate: float, root: AnyArray) -> None:
        R = self.arrays["R"]
        R[...] = rules.congruent_recurrent(R, drive, Xbar, rate) / (root[:, None] * root[None, :])
        if "M" in self.arrays:
            super()._congruent(drive, Xbar, rate, root)
            self._keep_inverse(drive)

    def _keep_inverse(self, drive: AnyArray) -> None:
        """See that M still is R⁻¹, and make it anew where a few drives show that it has drifted."""
        M, R, few = self.arrays["M"], self.arrays["R"], drive[: guards.PROBES, :]
        rounding = float(array_namespace(drive).finfo(drive.dtype).eps)
        allowed = max(self.plan.tol, ROUNDING * rounding)
        if guards.measure_drift(R, M, few, product).error <= allowed:
            return
        with suppress(np.linalg.LinAlgError):
            M[...] = alike(guards.inverse(as_numpy(R)), M)
        error = guards.measure_drift(R, M, few, product).error
        if not error <= max(allowed, math.sqrt(rounding)):
            raise DivergenceError(
                f"a recurrent layer must settle to {allowed:.2g} of x̄; in {drive.dtype} its R leaves {error:.2g}. "
                "Lower the rate of decorrelation, or use float64."
            )


class BatchNorm(_Centred):
    """x̄ = (x − μ)/√(σ² + ε) of each unit over the batch, for comparison; at test by running mean and variance.

    Reference: Ioffe & Szegedy (2015), ICML, arXiv:1502.03167.
    """

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["variance"] = np.ones(features, dtype)

    def centre(self, X: AnyArray, training: bool) -> AnyArray:
        """Return x minus the mean of the batch while learning, and minus the running mean at test."""
        return X - (array_namespace(X).mean(X, axis=0) if training else self.arrays["mean"])

    def decorrelate(self, drive: AnyArray, training: bool = False) -> AnyArray:
        """Return the drives over their standard deviation."""
        return drive * self._scale(drive, training)

    def turn_back(self, E: AnyArray, found: Any) -> AnyArray:
        """Return the gradient through the map, the mean and the variance of the batch."""
        scale = self._scale(found.drive, found.training)
        if found.training:
            xp = array_namespace(E)
            E = E - xp.mean(E, axis=0) - found.xbar * xp.mean(E * found.xbar, axis=0)
        return E * scale

    settle_back = turn_back

    def learn(self, found: Any) -> None:
        """Running mean and variance follow."""
        self._follow("variance", array_namespace(found.x).var(found.x, axis=0))
        self._follow("mean", found.mean_input())

    def as_ode(self) -> tuple[AnyArray | None, AnyArray | None]:
        """τ dx̄/dt = (x − μ)/√(σ² + ε) − x̄."""
        scale = self._scale(self.arrays["variance"], False)
        return identity(scale, scale.shape[0]) * scale, None

    def _scale(self, drive: AnyArray, training: bool) -> AnyArray:
        xp = array_namespace(drive)
        variance = xp.mean(drive * drive, axis=0) if training else self.arrays["variance"]
        return 1 / xp.sqrt(variance + VARIANCE_FLOOR)


_STATES: dict[str, Any] = {"none": Plain, "feedforward": Feedforward, "recurrent": Recurrent, "batch_norm": BatchNorm}


def decorrelator(plan: Decorrelation, features: int, rows: int, dtype: Any) -> Decorrelator:
    """Return the state of a decorrelator before learning, M = R = I and μ = 0, for so many rows per sample."""
    found: Decorrelator = _STATES[plan.form](plan, features, rows, dtype)
    return found
