"""Handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np

from neurodecorr.data.dataset import Dataset

__all__ = ["digits"]


def digits() -> Dataset:
    """Return scikit-learn's 1797 handwritten digits, 8 × 8 pixels from 0 to 1.

    ::

        x = pixel/16

    Three pixels are 0 in every sample: a degenerate case on purpose, in which Σ is singular and a correlation with a
    constant unit has no meaning. Works offline.

    Returns
    -------
    Dataset
        (1797, 64) inputs, targets 0 … 9, drawn as (8, 8).

    Examples
    --------
    >>> dataset = digits()
    >>> dataset
    Dataset('digits', 1797 samples × 64 features, shape (8, 8))
    >>> int((dataset.inputs.std(axis=0) == 0).sum())
    3
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    description = "scikit-learn's handwritten digits, pixel values divided by 16."
    return Dataset(bunch.data / 16, bunch.target.astype(np.int64), "digits", (8, 8), description)
