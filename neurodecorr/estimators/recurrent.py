"""`RecurrentDecorrelator`: the circuit as a transformer."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from neurodecorr._typing import Floats
from neurodecorr._validation import choice, positive
from neurodecorr.circuit import Circuit, settle
from neurodecorr.errors import StabilityError
from neurodecorr.estimators.base import BaseDecorrelator
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.spec import Schedule

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
    tau : float, default 1.0
        Time constant τ of the circuit, in the user's unit of time.
    settling : str, default "direct"
        How `transform` finds the fixed point: any method of `neurodecorr.settle` but "twin".
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
        check_is_fitted(self)
        circuits, R = self._circuits, self.R_  # in this order: a circuit is kept with the state that it is of
        if self.tau not in circuits:
            circuits[self.tau] = Circuit(R.astype(np.float64), self.tau)
        return circuits[self.tau]

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
        X = self._inputs(X, reset=False)
        drive = X.astype(np.float64) - self.mean_
        settled = settle(self.circuit_, drive, tol=self.tol, relative=True, method=self.settling)
        late = np.isin(settled.outcome, ("time", "steps"))
        if late.any():
            raise StabilityError(
                f"{int(late.sum())} of {len(X)} samples did not settle to tol={self.tol:g} (first: sample "
                f"{int(late.argmax())}). Use settling='direct', or a larger tol."
            )
        return np.asarray(settled.xbar, dtype=X.dtype)

    def _keep(self, state: State) -> Self:
        super()._keep(state)
        self._circuits: dict[float, Circuit] = {}  # made when first needed, one per time constant
        return self
