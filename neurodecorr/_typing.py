"""Aliases for the types of arrays and paths, the same in every room."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
AnyArray = Any  # an array of any library that speaks the array API: numpy or torch
Floats = npt.NDArray[np.floating[Any]]
Float64s = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]
PathLike = str | os.PathLike[str]
