"""`RecurrentDecorrelator`: the circuit as a transformer."""

from __future__ import annotations

import threading
import warnings
from typing import Any, Self, cast

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, finite, positive, shown, unmasked
from neurodecorr.circuit import Circuit, settle
from neurodecorr.errors import ConfigError, DegenerateInputWarning, InputError, StabilityError
from neurodecorr.measures import LEAST_ROWS, SampleMoments, centred_chunks, finite_moments, full_rank, null_directions
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.closed_form import state_from_estimator, state_from_moments
from neurodecorr.plasticity.learn import FEW, advance, go_on, samples_left
from neurodecorr.plasticity.samplewise import SampleStream
from neurodecorr.plasticity.spec import Schedule
from neurodecorr.plasticity.state import first_state

# Features whose powers differ more than this learn at rates that differ as much.
POWER_RANGE = 1e8
MOST_PASSES = 10**9
# Passes over few samples are joined to at least this many: every call has its price.
BLOCK = 1000
# Matrices n × n that learning holds at its fullest: R, M, their successors and what guards look at.
MATRICES = 6
SOLVERS = ("online", "offline")


class _Guard:
    """A lock that copies and pickles as a new one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[_Guard], tuple[()]]:
        return _Guard, ()


class _WrongTypeError(InputError, TypeError):
    """Inputs that are no numbers: an InputError, and the TypeError that scikit-learn's contract asks for."""


class BaseDecorrelator(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Base of the two forms: a `State` learnt by a `LearningRule`."""

    rate: float
    rule: str
    gain: str
    schedule: str | Schedule
    mean: str
    batch: int
    limit: float | None
    rate_is: str
    epochs: int | None
    solver: str
    covariance: Any
    _form: str
    _state: State | None
    _moments: SampleMoments | None
    _stream: SampleStream | None = None

    def plan(self) -> LearningRule:
        """Return the checked learning plan."""
        choice(self.solver, "solver", SOLVERS)
        if self.covariance is not None and self.solver != "offline":
            raise ConfigError(
                f"covariance needs solver='offline': learning sample by sample estimates none; got {self.solver!r}."
            )
        if self.solver == "offline" and self.gain == "none":
            raise ConfigError("gain must be 'node' or 'layer' with solver='offline', which keeps a power; got 'none'.")
        if self.covariance is not None and not hasattr(self.covariance, "fit"):
            raise ConfigError(
                "covariance must be a covariance estimator of scikit-learn, such as sklearn.covariance.LedoitWolf(); "
                f"got {shown(self.covariance)}."
            )
        return LearningRule(
            form=self._form,
            rule=self.rule,
            rate=self.rate,
            schedule=self.schedule,
            gain=self.gain,
            mean=self.mean,
            batch=self.batch,
            limit=self.limit,
            rate_is=self.rate_is,
        )

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the rows of X in their order, `epochs` times; or solve for M* (solver "offline").

        Parameters
        ----------
        X : (samples, n) array_like
            Inputs x.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If X is not a finite, dense, real (samples, n) array, or its n × n matrices do not fit in memory; if the
            covariance to be solved for has not full rank.
        ConfigError
            If a parameter lies outside its range, or a batch holds more samples than X.
        DivergenceError, StabilityError
            If learning breaks down; the sample is named and earlier results are kept.
        """
        plan = self.plan()
        X = self._inputs(X, reset=True, look=False)
        _require_room(X)
        with self._guard():
            if self.covariance is not None:
                return self._keep(state_from_estimator(clone(self.covariance), finite(X, "X"), plan))
            moments = finite_moments(X)
            sigma = moments.covariance(X)
            if self.solver == "offline":
                self._keep(state_from_moments(sigma, moments, plan, X.dtype))._moments = moments
                return self
            plan.require_samples(len(X))
            passes = self._passes(X, plan)
            del moments
            _report_dependent_units(sigma, len(X))
            del sigma  # room for the weights
            return self._keep(_learnt_in_passes(X, plan, passes))

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on learning from the rows of X, once; the state is as it was if this fails.

        Each call divides its rows into batches anew. A last batch that is short counts by its rows, so a call may bring
        fewer than `batch`. With solver "offline" the mean and the covariance of all rows so far are kept, exactly, and
        solved for when the weights are first asked for.
        """
        with self._guard():
            if self._streamed(X):
                return self
            plan = self.plan()
            fresh = not hasattr(self, "_state")
            if self.solver == "offline":
                self._require_moments(fresh)
            X = self._inputs(X, reset=fresh, look=self.solver == "online")
            if fresh:
                _require_room(X)
            if self.solver == "offline":
                self._moments = finite_moments(X, None if fresh else self._moments)
                self._state, self._last = None, X[-1:].copy()
                return self
            self._keep(advance(first_state(X, plan) if fresh else self._learnt(), X, plan))
            if len(X) < FEW and plan.batch == 1 and plan.rule != "congruent" and plan.engine == "auto":
                state = self._learnt()
                self._stream = SampleStream(state, plan, samples_left(plan, state.power, state.samples))
                self._chosen = self.get_params(deep=False)
            return self

    def _streamed(self, X: Any) -> bool:
        """Learn from a few rows like those of the last call, whose options and type are known to be right."""
        stream = getattr(self, "_stream", None)
        if stream is None or type(X) is not np.ndarray or X.ndim != 2 or not 0 < len(X) < FEW:
            return False
        if X.dtype != stream.dtype or X.shape[1] != self.n_features_in_ or not X.flags.c_contiguous:
            return False
        same = all(self.__dict__[name] is chosen for name, chosen in self._chosen.items())
        return same and stream.learn(X)

    def _require_moments(self, fresh: bool) -> None:
        """Raise if rows cannot be added to those before: their covariance is not known."""
        if self.covariance is not None:
            raise ConfigError(
                "covariance must be left out of partial_fit: an estimator needs all samples at once. Use fit."
            )
        if not fresh and self._moments is None:
            raise ConfigError(
                "solver='offline' must know the covariance of all samples so far, which learning sample by sample "
                "does not keep. Use fit, or a new object."
            )

    def inverse_transform(self, X: Any) -> Floats:
        """Return the inputs x = R x̄ + μ that settle to the rows of X."""
        check_is_fitted(self)
        Xbar = self._inputs(X, reset=False)
        out: Floats = Xbar @ self.R_.T.astype(Xbar.dtype, copy=False)
        out += self.mean_.astype(Xbar.dtype)
        return out

    def __sklearn_is_fitted__(self) -> bool:
        """Whether something was learnt."""
        return hasattr(self, "_state")

    @property
    def R_(self) -> Floats:
        """Recurrent form R, (n, n), dimensionless; R[i, j] from unit j to unit i."""
        return self._learnt().lateral

    @property
    def M_(self) -> Floats:
        """Feedforward form M, (n, n), dimensionless."""
        return self._learnt().matrix

    @property
    def mean_(self) -> Floats:
        """Running mean μ of the inputs, (n,), in units of x."""
        state = self._learnt()
        return np.asarray(state.mean * state.mean.dtype.type(state.scale))

    @property
    def gain_(self) -> Floats:
        """Gain g of the last step, (n,)."""
        return self._learnt().gain

    @property
    def n_samples_seen_(self) -> int:
        """Samples learnt from."""
        return self._learnt().samples

    @property
    def n_limited_(self) -> int:
        """Updates shortened so that η·tr⟨x̄x̄ᵀ⟩ stayed within the limit."""
        return self._learnt().limited

    def _learnt(self) -> State:
        if self._stream is not None:
            with self._guard():
                self._state = self._state if self._stream is None else self._stream.state()
        check_is_fitted(self)
        state = self._state
        if state is None:  # rows were added since it was last solved for
            with self._guard():
                moments, last = cast(SampleMoments, self._moments), self._last
                state = state_from_moments(moments.covariance(last), moments, self.plan(), last.dtype)
                self._keep(state)._moments = moments
        return state

    def _guard(self) -> _Guard:
        """Return the lock of this object: two threads may learn and read."""
        return cast(_Guard, self.__dict__.setdefault("_lock", _Guard()))

    def _passes(self, X: Floats, plan: LearningRule) -> int:
        if self.epochs is not None:
            return count(self.epochs, "epochs", most=MOST_PASSES)
        return max(1, -(-plan.visits(X.shape[1]) // len(X)))

    def _inputs(self, X: Any, reset: bool, look: bool = True) -> Floats:
        """Return X as a floating array; float32 stays float32. Whether it is finite may be left to a later look."""
        plain = type(X) is np.ndarray and X.ndim == 2 and len(X) > 0 and X.dtype in (np.float64, np.float32)
        known = plain and not reset and X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_")
        if known and X.flags.c_contiguous:  # scikit-learn could find nothing wrong, nor would it copy anything
            return finite(X, "X") if look else X
        X = unmasked(X, "X")
        if hasattr(X, "toarray") and hasattr(X, "nnz"):
            raise InputError(f"X must be a dense array; got a sparse {type(X).__name__}. Use X.toarray().")
        try:
            X = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], order="C", ensure_all_finite=False)
        except (ValueError, OverflowError) as error:
            raise InputError(str(error)) from None
        except TypeError as error:
            raise _WrongTypeError(str(error)) from None
        return finite(X, "X") if look else X

    def _keep(self, state: State) -> Self:
        powers = state.power[state.power > 0]
        if powers.size and powers.max() > POWER_RANGE * powers.min():
            warnings.warn(
                f"feature powers span a factor {powers.max() / powers.min():.1e}; unit {int(np.argmin(powers))} learns "
                "that much more slowly than the strongest. Standardise the features first.",
                DegenerateInputWarning,
                stacklevel=3,
            )
        self._state, self._moments, self._stream = state, None, None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: what was learnt, with the samples that wait beside the weights."""
        if self._stream is None:
            return dict(super().__getstate__())
        self._learnt()
        return {**super().__getstate__(), "_stream": None}


def _learnt_in_passes(X: Floats, plan: LearningRule, passes: int) -> State:
    state = first_state(X, plan)
    together = min(passes, -(-BLOCK // len(X)))  # passes over few samples are joined: every call has its price
    block = np.tile(X, (together, 1)) if together > 1 else X
    for _ in range(passes // together):
        state = go_on(state, block, plan)
    rest = passes % together * len(X)
    return go_on(state, block[:rest], plan) if rest else state


def _report_dependent_units(sigma: Floats, samples: int) -> None:
    """Warn if some direction of the varying units carries no signal: no rule can decorrelate what is the same."""
    if full_rank(sigma):
        return
    n, found = len(sigma), null_directions(covariance=sigma, samples=samples)
    live = n - len(found.silent)
    few = samples <= live  # N samples span N − 1 directions
    lost = live - samples + 1 if few else n - len(found.live) - len(found.silent)
    if live < 2 or lost <= 0:
        return
    named = ", ".join(map(str, found.involved[:3]))
    reason = "more units than samples" if few else f"collinear or identical units, such as {named}"
    warnings.warn(
        f"{lost} direction(s) of the input carry no signal of their own ({reason}). Those units stay correlated; "
        "remove them, or bring more samples.",
        DegenerateInputWarning,
        stacklevel=3,
    )


def _require_room(X: Floats) -> None:
    """Raise before memory is taken that is not there: n² grows fast where columns were taken for units by mistake."""
    n = X.shape[1]
    advice = "Rows are samples and columns are units: was X.T meant?" if n > len(X) else "Use fewer units."
    require_memory(MATRICES * X.dtype.itemsize * n * n, f"a decorrelator of {n:,} units", advice)


class FeedforwardDecorrelator(BaseDecorrelator):
    """Decorrelate by one matrix product with a learnt M.

    ::

        x̄ = M (x − μ),        M ← diag(g) (I + η x̄x̄ᵀ)⁻¹ M

    The exact partner of `RecurrentDecorrelator` with the same rule: same inputs, same x̄, without dynamics, at the
    price of a rule that is not local (each change of M needs the column sums x̄ᵀM).

    Parameters
    ----------
    rate : float, default 1e-3
        Learning rate η, in the unit that `rate_is` names.
    rule : {"implicit", "explicit", "congruent"}
        "explicit" is the printed M ← g∘(M − ηCM). "local" is another name of "implicit".
    gain, schedule, mean, batch, limit, rate_is, epochs, solver, covariance
        As in `RecurrentDecorrelator`.

    Attributes
    ----------
    M_, R_ : (n, n) arrays
        M, and its inverse R.
    mean_, gain_ : (n,) arrays
        Running mean of the inputs; gain of the last step.
    n_samples_seen_, n_limited_ : int
        Samples learnt from, and updates that the limiter shortened.

    References
    ----------
    "Correlations are ruining your gradient descent", §3.2 and Algorithm 1.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> X = nd.data.natural_patches(size=8, samples=20_000, seed=0).inputs
    >>> recurrent = nd.RecurrentDecorrelator().fit(X).transform(X)
    >>> feedforward = nd.FeedforwardDecorrelator().fit(X).transform(X)
    >>> bool(np.allclose(recurrent, feedforward, rtol=0, atol=1e-9))
    True
    """

    _form = "feedforward"

    def __init__(
        self,
        rate: float = 1e-3,
        *,
        rule: str = "implicit",
        gain: str = "node",
        schedule: str | Schedule = "decay",
        mean: str = "running",
        batch: int = 1,
        limit: float | None = 0.1,
        rate_is: str = "relative",
        epochs: int | None = None,
        solver: str = "online",
        covariance: Any = None,
    ) -> None:
        self.rate = rate
        self.rule = rule
        self.gain = gain
        self.schedule = schedule
        self.mean = mean
        self.batch = batch
        self.limit = limit
        self.rate_is = rate_is
        self.epochs = epochs
        self.solver = solver
        self.covariance = covariance

    def transform(self, X: Any) -> Floats:
        """Return x̄ = M (x − μ) for each row of X.

        Parameters
        ----------
        X : (samples, n) array_like
            Inputs x.

        Returns
        -------
        (samples, n) array
            x̄, in units of x.
        """
        check_is_fitted(self)
        X = self._inputs(X, reset=False, look=False)
        if self._stream is not None and len(X) < FEW:
            with self._guard():
                if self._stream is not None and self._stream.dtype == X.dtype:
                    return self._stream.respond(finite(X, "X"))
        M, mean = self.M_.astype(X.dtype, copy=False), self.mean_.astype(X.dtype)
        Xbar: Floats = np.empty_like(X)
        for rows, drive in centred_chunks(X, mean, X.dtype):
            np.matmul(drive, M.T, out=Xbar[rows])
        return Xbar


SETTLING = ("direct", "auto", "chebyshev", "exponential", "euler", "rk4", "rk45", "implicit")


class RecurrentDecorrelator(BaseDecorrelator):
    """Decorrelate by a recurrent circuit whose lateral weights R learn locally.

    ::

        τ dx̄/dt = (x − μ) − R x̄,        ΔR_ij = η ((R x̄)_i x̄_j − R_ij p_j)

    Each sample is settled, then each synapse changes by its postsynaptic drive times its presynaptic activity,
    against a decay set by the power p_j of the presynaptic unit's own input (rule "implicit", or "local"; node gain).
    This is the exact partner of the implicit rule for M = R⁻¹ (docs: theory).

    Parameters
    ----------
    rate : float, default 1e-3
        Learning rate η, in the unit that `rate_is` names.
    rule : {"implicit", "explicit", "congruent"}
        "local" is another name of "implicit". "congruent" keeps R symmetric positive definite: its circuit is stable at
        every rate.
    gain : {"node", "layer", "none"}
        Whether each unit keeps its own input power (decorrelation), the layer its mean power (whitening up to one
        scale), or nothing.
    schedule : {"decay", "constant"} or Decay
        "decay" searches, then converges as 1/t; "constant" follows inputs that change.
    mean : {"running", "batch", "none"}
        Mean μ subtracted while learning; inference always uses the running mean.
    batch : int, default 1
        Samples per update, at most those of X. A batch weighs as much as its samples one by one.
    limit : float or None, default 0.1
        Largest η·tr⟨x̄x̄ᵀ⟩; updates shortened to it are counted in `n_limited_`.
    rate_is : {"relative", "absolute"}, default "relative"
        Unit of the rate: one over the mean input power ⟨x²⟩, or 1/x² as the inputs come.
    epochs : int or None
        Passes of `fit` over X; None for as many as the rate needs.
    solver : {"online", "offline"}, default "online"
        "offline": M* = Γ^½ (Γ^½ Σ Γ^½)^-½ Γ^½ and R* = M*⁻¹, where every rule rests, from one pass over X.
        Of the options before this one only `gain` and `mean` count then.
    covariance : scikit-learn covariance estimator, optional
        What estimates Σ from X if solver is "offline", such as `sklearn.covariance.LedoitWolf()` for few samples; by
        default the covariance of the samples.
    tau : float, default 1.0
        Time constant τ of the circuit, in the user's unit of time.
    settling : str, default "direct"
        How `transform` finds the fixed point: any method of `neurodecorr.settle`.
    tol : float, default 1e-6
        Certified relative distance to the fixed point that `transform` asks for.

    Attributes
    ----------
    R_, M_ : (n, n) arrays
        R, and its twin M.
    mean_, gain_ : (n,) arrays
        Running mean of the inputs; gain of the last step.
    circuit_ : Circuit
        The learnt circuit.
    n_samples_seen_, n_limited_ : int
        Samples learnt from, and updates that the limiter shortened.

    References
    ----------
    "Correlations are ruining your gradient descent", §3.2 and Appendix D, with the corrections of docs/theory.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> X = nd.data.natural_patches(size=8, samples=20_000, seed=0).inputs
    >>> Xbar = nd.RecurrentDecorrelator().fit(X).transform(X)
    >>> bool(nd.measures.rms_correlation(Xbar) < 0.03 < 0.9 < nd.measures.rms_correlation(X))
    True
    """

    _form = "recurrent"

    def __init__(
        self,
        rate: float = 1e-3,
        *,
        rule: str = "implicit",
        gain: str = "node",
        schedule: str | Schedule = "decay",
        mean: str = "running",
        batch: int = 1,
        limit: float | None = 0.1,
        rate_is: str = "relative",
        epochs: int | None = None,
        solver: str = "online",
        covariance: Any = None,
        tau: float = 1.0,
        settling: str = "direct",
        tol: float = 1e-6,
    ) -> None:
        self.rate = rate
        self.rule = rule
        self.gain = gain
        self.schedule = schedule
        self.mean = mean
        self.batch = batch
        self.limit = limit
        self.rate_is = rate_is
        self.epochs = epochs
        self.solver = solver
        self.covariance = covariance
        self.tau = tau
        self.settling = settling
        self.tol = tol

    def plan(self) -> LearningRule:
        """Return the checked learning plan."""
        positive(self.tau, "tau", "the user's unit of time")
        positive(self.tol, "tol")
        choice(self.settling, "settling", SETTLING)
        return super().plan()

    @property
    def circuit_(self) -> Circuit:
        """The learnt circuit τ dx̄/dt = (x − μ) − R x̄, in float64."""
        state = self._learnt()
        circuits = self._circuits
        kept, circuit = circuits.get(self.tau, (None, None))
        if circuit is None or kept is not state:  # another thread may have learnt since
            circuit = Circuit(state.R.astype(np.float64), self.tau)
            circuits[self.tau] = state, circuit
        return circuit

    def transform(self, X: Any) -> Floats:
        """Settle the circuit on each row of X and return the certified fixed points x̄.

        Parameters
        ----------
        X : (samples, n) array_like
            Inputs x.

        Returns
        -------
        (samples, n) array
            x̄, in units of x.

        Raises
        ------
        StabilityError
            If some sample does not settle within the method's bounds on time and steps.
        """
        check_is_fitted(self)
        X = self._inputs(X, reset=False, look=False)
        circuit, late = self.circuit_, np.zeros(len(X), bool)
        Xbar: Floats = np.empty_like(X)
        least = X.shape[1] + 1 if len(X) > X.shape[1] else LEAST_ROWS  # more rows than units go by the inverse
        for rows, drive in centred_chunks(X, self.mean_, np.dtype(np.float64), least):
            settled = settle(circuit, drive, tol=self.tol, relative=True, method=self.settling)
            Xbar[rows], late[rows] = settled.xbar, np.isin(settled.outcome, ("time", "steps"))
        if late.any():
            raise StabilityError(
                f"{int(late.sum())} of {len(X)} samples did not settle to tol={self.tol:g} (first: sample "
                f"{int(late.argmax())}). Use settling='direct', or a larger tol."
            )
        return Xbar

    def _keep(self, state: State) -> Self:
        super()._keep(state)
        self._circuits: dict[float, tuple[State, Circuit]] = {}  # made when first needed, one per time constant
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all but the circuits, which are made again."""
        state = dict(super().__getstate__())
        return {**state, "_circuits": {}} if "_circuits" in state else state


__all__ = ["FeedforwardDecorrelator", "RecurrentDecorrelator"]
