"""What the two transformers share: learning a state by a plan, and checked inputs."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Floats
from neurodecorr._validation import count, finite, unmasked
from neurodecorr.errors import DegenerateInputWarning, InputError
from neurodecorr.measures import covariance, null_directions
from neurodecorr.plasticity import LearningRule, State, initial_state
from neurodecorr.plasticity.learn import advance
from neurodecorr.plasticity.spec import Schedule

# Features whose powers differ more than this learn at rates that differ as much.
POWER_RANGE = 1e8
MOST_PASSES = 10**9
# Passes over few samples are joined to at least this many: every call has its price.
BLOCK = 1000
# Matrices n × n that learning holds at its fullest: R, M, their successors and what guards look at.
MATRICES = 6


class _WrongTypeError(InputError, TypeError):
    """Inputs that are no numbers: an InputError, and the TypeError that scikit-learn's contract asks for."""


class BaseDecorrelator(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """What the two forms share: learning a `State` by a `LearningRule`."""

    rate: float
    rule: str
    gain: str
    schedule: str | Schedule
    mean: str
    batch: int
    limit: float | None
    rate_is: str
    epochs: int | None
    _form: str
    _state: State

    def plan(self) -> LearningRule:
        """Return the checked learning plan."""
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
        """Learn from the rows of X in their order, passing over them `epochs` times.

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
            If X is not a finite, dense, real (samples, n) array, or its n × n matrices do not fit in memory.
        ConfigError
            If a parameter lies outside its range, or a batch holds more samples than X.
        DivergenceError, StabilityError
            If learning breaks down; the sample is named and earlier results are kept.
        """
        plan = self.plan()
        X = self._inputs(X, reset=True)
        plan.require_samples(len(X))
        _require_room(X)
        state, passes = initial_state(X, plan), self._passes(X, plan)
        _report_dependent_units(X)
        together = min(passes, -(-BLOCK // len(X)))  # passes over few samples are joined: every call has its price
        block = np.tile(X, (together, 1)) if together > 1 else X
        for _ in range(passes // together):
            state = advance(state, block, plan)
        if passes % together:
            state = advance(state, block[: passes % together * len(X)], plan)
        return self._keep(state)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on learning from the rows of X, once; the state is as it was if this fails.

        Each call divides its rows into batches anew. A last batch that is short counts by its rows, so a call may bring
        fewer than `batch`.
        """
        plan = self.plan()
        fresh = not hasattr(self, "_state")
        X = self._inputs(X, reset=fresh)
        if fresh:
            _require_room(X)
        return self._keep(advance(initial_state(X, plan) if fresh else self._state, X, plan))

    def inverse_transform(self, X: Any) -> Floats:
        """Return the inputs x = R x̄ + μ that settle to the rows of X."""
        check_is_fitted(self)
        Xbar = self._inputs(X, reset=False)
        return np.asarray(Xbar @ self.R_.T.astype(Xbar.dtype) + self.mean_.astype(Xbar.dtype))

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
        check_is_fitted(self)
        return self._state

    def _passes(self, X: Floats, plan: LearningRule) -> int:
        if self.epochs is not None:
            return count(self.epochs, "epochs", most=MOST_PASSES)
        return max(1, -(-plan.visits(X.shape[1]) // len(X)))

    def _inputs(self, X: Any, reset: bool) -> Floats:
        """Return X as a finite floating array; float32 stays float32."""
        X = unmasked(X, "X")
        if hasattr(X, "toarray") and hasattr(X, "nnz"):
            raise InputError(f"X must be a dense array; got a sparse {type(X).__name__}. Use X.toarray().")
        try:
            X = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], order="C", ensure_all_finite=False)
        except (ValueError, OverflowError) as error:
            raise InputError(str(error)) from None
        except TypeError as error:
            raise _WrongTypeError(str(error)) from None
        return finite(X, "X")

    def _keep(self, state: State) -> Self:
        powers = state.power[state.power > 0]
        if powers.size and powers.max() > POWER_RANGE * powers.min():
            warnings.warn(
                f"feature powers span a factor {powers.max() / powers.min():.1e}; unit {int(np.argmin(powers))} learns "
                "that much more slowly than the strongest. Standardise the features first.",
                DegenerateInputWarning,
                stacklevel=3,
            )
        self._state = state
        return self


def _report_dependent_units(X: Floats) -> None:
    """Warn if some direction of the varying units carries no signal: no rule can decorrelate what is the same."""
    found = null_directions(covariance=covariance(X), samples=len(X))
    live = X.shape[1] - len(found.silent)
    few = len(X) <= live  # N samples span N − 1 directions
    lost = live - len(X) + 1 if few else X.shape[1] - len(found.live) - len(found.silent)
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
