"""Synapses as they are built: each off by a random share of its weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats
from neurodecorr._validation import generator, positive, square


def mismatched(weights: npt.ArrayLike, level: float, seed: int | np.random.Generator = 0) -> Floats:
    """Return a copy of R or M whose synapses are off by random shares of their weights.

    ::

        W_ij ← W_ij (1 + σ ξ_ij),    ξ_ij ~ N(0, 1)

    The draws ξ depend on the seed alone: one seed misses all weights of one shape alike, at every level.

    Parameters
    ----------
    weights : (n, n) array
        R or M.
    level : float
        Standard deviation σ > 0 of the relative mismatch.
    seed : int or numpy.random.Generator, default 0
        Chooses ξ.

    Returns
    -------
    (n, n) array
        The weights as built.

    Examples
    --------
    >>> import numpy as np

    >>> R = mismatched(np.diag([1.0, 2.0]), 0.1, seed=1)
    >>> bool(R[0, 1] == 0), bool(0 < abs(R[1, 1] / 2 - 1) < 0.5)
    (True, True)
    """
    W, sigma = square(weights, "weights"), positive(level, "level")
    return np.asarray(W * (1 + sigma * generator(seed).standard_normal(W.shape)))
