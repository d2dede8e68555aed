"""`FeedforwardDecorrelator`: the matrix as a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from neurodecorr._typing import Floats
from neurodecorr.estimators.base import BaseDecorrelator
from neurodecorr.plasticity.spec import Schedule


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
    gain, schedule, mean, batch, limit, rate_is, epochs
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
        X = self._inputs(X, reset=False)
        return np.asarray((X - self.mean_.astype(X.dtype)) @ self.M_.T.astype(X.dtype))
