"""What a comparison found: one entry per form, and its way to disk and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import CheckpointError
from neurodecorr.recording import Result, load_result

__all__ = ["Comparison", "Entry"]

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Entry:
    """One form of the decorrelator on the common stream.

    Correlations and powers are those of the held-out samples. Times are in τ. Errors are relative to ‖x̄‖.
    """

    name: str
    form: str  # offline, feedforward or recurrent
    rule: str
    failure: str  # why learning stopped before the end of the stream; empty if it did not
    learnt: int  # samples learnt from
    limited: int  # steps shortened by the limiter
    seconds: float  # wall time of learning
    correlation: float  # rms correlation coefficient between units
    relative: float  # ‖offdiag C‖/‖diag C‖
    power: float  # tr cov(x̄)/tr cov(x)
    twin_error: float  # ‖RM − I‖/√n
    distance: float  # rms of (M − M*)x relative to that of M*x, over the held-out x
    settling_error: float  # worst certified relative distance to the fixed point
    settling_time: float  # median over samples, τ
    settling_time_worst: float
    predicted_time: float  # median over samples, τ, predicted from the modes of R
    products: float  # median matrix–vector products a sample
    margin: float  # min Re λ(R)
    condition: float  # σ_max/σ_min of R
    synapses: int
    operations: float  # multiply-adds a sample
    matrix: Floats  # M (n, n)
    lateral: Floats  # R (n, n)
    covariance: Floats  # of x̄ (n, n)
    eigenvalues: npt.NDArray[np.complexfloating[Any, Any]]  # of R (n,)
    steps: npt.NDArray[np.int64]  # samples learnt from, when the next three were taken (k,)
    margins: Floats  # (k,)
    correlations: Floats  # (k,)
    powers: Floats  # (k,)
    mismatch_error: Floats  # rms relative output error, infinite where the circuit is unstable (levels, draws)
    path_time: Floats  # τ (t,); empty for forms that do not settle
    path_error: Floats  # true relative distance to the fixed point (samples, t)
    path_bound: Floats  # its certified bound (samples, t)
    mean: Floats | None = None  # μ subtracted from the input (n,); None in files of older versions

    @property
    def settles(self) -> bool:
        """Whether this form is a circuit that takes time."""
        return self.form == "recurrent"

    @property
    def stable_share(self) -> Floats:
        """Share of mismatched draws that still settle, per level."""
        return np.asarray(np.isfinite(self.mismatch_error).mean(axis=1))


@dataclass(frozen=True)
class Comparison:
    """The forms of the decorrelator on one stream.

    Parameters
    ----------
    dataset : str
        Name of the inputs.
    shape : tuple of int or None
        Height and width of an input that is an image patch.
    config : dict
        Resolved options.
    provenance : dict
        Versions, seed, machine, time.
    correlation, relative : float
        Of the held-out inputs before decorrelation.
    covariance : (n, n) array
        Of the held-out inputs.
    held_out : int
        Held-out samples.
    mismatch_levels : (levels,) array
        Standard deviations of the relative synaptic mismatch.
    entries : tuple of Entry
        One per form, the offline reference first.
    inputs : (k, n) array or None
        The first held-out samples, for circuits that are built from this file; None in files of older versions.
    """

    dataset: str
    shape: tuple[int, ...] | None
    config: dict[str, Any]
    provenance: dict[str, Any]
    correlation: float
    relative: float
    covariance: Floats
    held_out: int
    mismatch_levels: Floats
    entries: tuple[Entry, ...]
    inputs: Floats | None = None

    def __getitem__(self, name: str) -> Entry:
        """Return the entry called `name`, "R local" say."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"{name!r} is not among {', '.join(repr(entry.name) for entry in self.entries)}")

    @property
    def features(self) -> int:
        """Units of the layer, n."""
        return len(self.covariance)

    def to_result(self) -> Result:
        """Return everything as plain arrays and one JSON description."""
        arrays: dict[str, Any] = {"covariance": self.covariance, "mismatch_levels": self.mismatch_levels}
        if self.inputs is not None:
            arrays["inputs"] = self.inputs
        entries = []
        for entry in self.entries:
            values = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
            arrays |= {_key(entry.name, k): v for k, v in values.items() if isinstance(v, np.ndarray)}
            entries.append({k: v for k, v in values.items() if not isinstance(v, np.ndarray)})
        names = ("dataset", "shape", "config", "provenance", "correlation", "relative", "held_out")
        meta = {name: getattr(self, name) for name in names}
        return Result(arrays=arrays, meta={"kind": KIND, **meta, "entries": entries})

    @classmethod
    def from_result(cls, result: Result) -> Comparison:
        """Return the comparison that `to_result` turned into `result`."""
        meta = dict(result.meta)
        if meta.pop("kind", None) != KIND:
            raise CheckpointError("this result is not a comparison; it was written by another command.")
        try:
            entries = tuple(_entry(values, result.arrays) for values in meta.pop("entries"))
            shape = meta.pop("shape")
            levels, covariance = result.arrays["mismatch_levels"], result.arrays["covariance"]
            return cls(
                shape=None if shape is None else tuple(shape),
                covariance=covariance,
                mismatch_levels=levels,
                entries=entries,
                inputs=result.arrays.get("inputs"),
                **meta,
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"this comparison does not have the fields of this version ({error}). Run it again."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a comparison from its folder, or from its result.npz."""
        return cls.from_result(load_result(path))


KIND = "comparison"
NAMES = tuple(field.name for field in dataclasses.fields(Entry))


def _entry(values: dict[str, Any], arrays: Mapping[str, Any]) -> Entry:
    """Return an entry from its plain values and its arrays."""
    arrays = {name: array for name in NAMES if (array := arrays.get(_key(values["name"], name))) is not None}
    return Entry(**{"mean": None, **values, **arrays})


def _key(entry: str, field: str) -> str:
    return f"{entry.replace(' ', '_')}.{field}"
