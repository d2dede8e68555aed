"""Targets: labels, or rows of numbers, one for each output."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr._missing import unmasked
from neurodecorr.errors import InputError

__all__ = ["require_targets", "targets"]


def targets(values: Any, outputs: int) -> Any:
    """Return labels as rows that are 1 at the label and 0 elsewhere; rows of numbers as they are.

    Raises
    ------
    InputError
        If there are more classes than outputs, or rows of another length.
    """
    values = require_targets(values, outputs)
    return values if values.ndim == 2 else np.eye(outputs)[values]


def require_targets(values: Any, outputs: int) -> Any:
    """Return targets if they are labels 0 … outputs − 1, or rows of so many numbers; raise as `targets` does."""
    values = np.asarray(unmasked(values, "targets"))
    if values.ndim == 2 and values.shape[1] == outputs:
        return values
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values >= outputs).any() or (values < 0).any():
        raise InputError(
            f"targets must be labels 0 … {outputs - 1} or rows of {outputs} numbers, as the network has {outputs} "
            f"outputs; got shape {values.shape} of type {values.dtype}, largest {values.max()}."
        )
    return values
