"""Results of a comparison: one entry per form, and their file format."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import printable, short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import instance
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io import Result, load_result

_KINDS = {"numbers": "biuf", "whole numbers": "iu", "complex numbers": "biufc"}


class FieldReader:
    """Read fields of a mapping; raise an error with the name of a field that is missing or wrong.

    Parameters
    ----------
    values : mapping
        Fields by name.
    place : str
        What they belong to, for messages: "entry 'R implicit'".
    """

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values, self._place = values, place

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._there(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text", value)
        return value

    def truth(self, name: str) -> bool:
        """Return true or false."""
        value = self._there(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def count(self, name: str, least: int = 0) -> int:
        """Return a whole number that is at least `least`."""
        value = self._there(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._wrong(name, f"a whole number ≥ {least}", value)
        return value

    def number(self, name: str, *, infinite: bool = False) -> float:
        """Return a number that is finite, or at least no NaN."""
        value = self._there(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        if math.isnan(value) or (math.isinf(value) and not infinite):
            raise self._wrong(name, "a number that is not NaN" if infinite else "a finite number", value)
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a mapping."""
        value = self._there(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "a mapping", value)
        return value

    def shape(self, name: str, entries: int) -> tuple[int, ...] | None:
        """Return None, or a shape with so many entries."""
        value = self._there(name)
        if value is None:
            return None
        sides = value if isinstance(value, list) else []
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if not sides or not whole or math.prod(sides) != entries:
            raise self._wrong(name, f"a shape with {entries} entries, or none", value)
        return tuple(sides)

    def array(
        self, name: str, shape: tuple[int | None, ...], kind: str = "numbers", *, infinite: bool = False
    ) -> np.ndarray[Any, Any]:
        """Return an array of numbers of this shape (None: any length), finite or at least without NaN."""
        value = np.asarray(self._there(name))
        fits = value.ndim == len(shape) and all(w in (None, g) for w, g in zip(shape, value.shape, strict=True))
        if value.dtype.kind not in _KINDS[kind] or not fits:
            sides = " × ".join("any" if side is None else str(side) for side in shape)
            raise self._wrong(name, f"an array of {kind}, {sides}", f"{value.dtype} of shape {value.shape}")
        if np.isnan(value).any() or not (infinite or np.isfinite(value).all()):
            where = tuple(int(i) for i in np.argwhere(np.isnan(value) if infinite else ~np.isfinite(value))[0])
            raise self._wrong(name, "finite" if not infinite else "without NaN", f"{value[where]} at {where}")
        return value

    def has(self, name: str) -> bool:
        """Return True if the field exists and is not null."""
        return self._values.get(name) is not None

    def _there(self, name: str) -> Any:
        if name not in self._values:
            raise CheckpointError(f"{self._place} must have the field {name!r}; there is none. Run it again.")
        return self._values[name]

    def _wrong(self, name: str, wanted: str, value: Any) -> CheckpointError:
        found = repr(value)
        found = found if len(found) <= 60 else f"{found[:59]}…"
        return CheckpointError(
            f"{self._place}: {name} must be {wanted}; got {found}. The file is damaged: run it again."
        )


@short_repr
@dataclass(frozen=True)
class Entry:
    """Results of one form of the decorrelator on the common stream.

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
    over_seeds: Floats | None = None  # a row per seed, a column per name in `spread.SPREAD`; None for one seed

    @property
    def settles(self) -> bool:
        """True if this form is a circuit, which needs time to settle."""
        return self.form == "recurrent"

    @property
    def stable_share(self) -> Floats:
        """Share of mismatched draws that still settle, per level."""
        return np.asarray(np.isfinite(self.mismatch_error).mean(axis=1))


@short_repr
@dataclass(frozen=True)
class Comparison:
    """Results of all forms of the decorrelator on one stream.

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
        Held-out samples: to judge on, or only to settle where the covariance is exact.
    mismatch_levels : (levels,) array
        Standard deviations of the relative synaptic mismatch.
    entries : tuple of Entry
        One per form, the offline reference first.
    inputs : (k, n) array or None
        The first held-out samples, for circuits that are built from this file; None in files of older versions.
    exact : bool
        Whether the covariance is that of everything that was held out, not of a sample.
    seeds : (k,) array or None
        Seeds of all runs, the one shown first; None for a single run.
    before_over_seeds : (k,) array or None
        Rms correlation of the held-out inputs, per seed.
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
    exact: bool = False
    seeds: npt.NDArray[np.int64] | None = None
    before_over_seeds: Floats | None = None

    def __repr__(self) -> str:
        best = min(self.entries, key=lambda entry: entry.correlation)
        return (
            f"Comparison({self.dataset!r}, {len(self.covariance)} units, {len(self.entries)} forms, rms correlation "
            f"{self.correlation:.3g} → {best.correlation:.3g} by {best.name})"
        )

    def __getitem__(self, name: str) -> Entry:
        """Return the entry called `name`, "R implicit" say."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"{name!r} is not among {', '.join(repr(entry.name) for entry in self.entries)}")

    @property
    def features(self) -> int:
        """Units of the layer, n."""
        return len(self.covariance)

    @property
    def scatter(self) -> float:
        """Correlation that independent units would show on so many held-out samples, 1/√N; 0 if exact."""
        return 0.0 if self.exact else 1 / math.sqrt(self.held_out)

    def to_result(self) -> Result:
        """Return everything as plain arrays and one JSON description."""
        arrays: dict[str, Any] = {"covariance": self.covariance, "mismatch_levels": self.mismatch_levels}
        for name in ("inputs", "seeds", "before_over_seeds"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        entries = []
        for entry in self.entries:
            values = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
            arrays |= {_key(entry.name, k): v for k, v in values.items() if isinstance(v, np.ndarray)}
            entries.append({k: v for k, v in values.items() if not isinstance(v, np.ndarray)})
        names = ("dataset", "shape", "config", "provenance", "correlation", "relative", "held_out", "exact")
        meta = {name: getattr(self, name) for name in names}
        return Result(arrays=arrays, meta={"kind": KIND, **meta, "entries": entries})

    @classmethod
    def from_result(cls, result: Result) -> Comparison:
        """Return the comparison that `to_result` turned into `result`.

        Raises
        ------
        CheckpointError
            If it is no comparison, or a field is missing or not what it must be; the field is named.
        """
        if result.meta.get("kind") != KIND:
            kind = printable(repr(result.meta.get("kind")))
            raise CheckpointError(f"this result is not a comparison: its kind must be {KIND!r}; got {kind}.")
        meta, arrays = FieldReader(result.meta, "this comparison"), FieldReader(result.arrays, "this comparison")
        covariance = arrays.array("covariance", (None, None))
        n = len(covariance)
        arrays.array("covariance", (n, n))
        levels = arrays.array("mismatch_levels", (None,))
        config = FieldReader(meta.mapping("config"), "this comparison's config")
        config.count("samples", 1)
        config.number("tol")
        listed = result.meta.get("entries")
        if not isinstance(listed, list) or not listed or not all(isinstance(values, dict) for values in listed):
            kind = type(listed).__name__
            raise CheckpointError(f"this comparison: entries must be a list of entries; got {kind}. Run it again.")
        return cls(
            dataset=meta.text("dataset"),
            shape=meta.shape("shape", n),
            config=meta.mapping("config"),
            provenance=meta.mapping("provenance"),
            correlation=meta.number("correlation"),
            relative=meta.number("relative"),
            covariance=covariance,
            held_out=meta.count("held_out", 1),
            mismatch_levels=levels,
            entries=tuple(_entry(values, result.arrays, n, len(levels)) for values in listed),
            inputs=arrays.array("inputs", (None, n)) if arrays.has("inputs") else None,
            exact=meta.truth("exact") if meta.has("exact") else False,
            seeds=arrays.array("seeds", (None,), "whole numbers") if arrays.has("seeds") else None,
            before_over_seeds=arrays.array("before_over_seeds", (None,)) if arrays.has("before_over_seeds") else None,
        )

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a comparison from its folder, or from its result.npz."""
        return cls.from_result(load_result(path))


KIND = "comparison"
# What is plain in an entry, and what are arrays; the rest is read with its shape.
TEXTS = ("name", "form", "rule", "failure")
COUNTS = ("learnt", "limited", "synapses")
NUMBERS = (
    "seconds",
    "correlation",
    "relative",
    "power",
    "twin_error",
    "distance",
    "settling_error",
    "settling_time",
    "settling_time_worst",
    "predicted_time",
    "products",
    "margin",
    "operations",
)


def _entry(values: dict[str, Any], arrays: Mapping[str, Any], n: int, levels: int) -> Entry:
    """Return an entry from its plain values and its arrays, every one of which is looked at."""
    plain = FieldReader(values, "an entry of this comparison")
    name = plain.text("name")
    plain = FieldReader(values, f"entry {name!r}")
    prefix = _key(name, "")
    kept = FieldReader(
        {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}, f"{name!r}"
    )
    steps = kept.array("steps", (None,), "whole numbers")
    times = kept.array("path_time", (None,))
    fields: dict[str, Any] = {key: plain.text(key) for key in TEXTS}
    fields |= {key: plain.count(key) for key in COUNTS} | {key: plain.number(key) for key in NUMBERS}
    fields |= {key: kept.array(key, (n, n)) for key in ("matrix", "lateral", "covariance")}
    fields |= {key: kept.array(key, (len(steps),)) for key in ("margins", "correlations", "powers")}
    fields |= {key: kept.array(key, (None, len(times))) for key in ("path_error", "path_bound")}
    return Entry(
        **fields,
        condition=plain.number("condition", infinite=True),
        eigenvalues=kept.array("eigenvalues", (n,), "complex numbers"),
        steps=steps,
        mismatch_error=kept.array("mismatch_error", (levels, None), infinite=True),
        path_time=times,
        mean=kept.array("mean", (n,)) if kept.has("mean") else None,
        over_seeds=kept.array("over_seeds", (None, None), infinite=True) if kept.has("over_seeds") else None,
    )


def _key(entry: str, field: str) -> str:
    return f"{entry.replace(' ', '_')}.{field}"


def require_comparison(value: Any) -> Comparison:
    """Return `value` if it is a comparison."""
    found: Comparison = instance(
        value, Comparison, "comparison", advice="Use compare(dataset), or Comparison.load(path)."
    )
    return found


def _lowest(entry: Entry) -> float:
    return float(entry.margins.min()) if len(entry.margins) else entry.margin


def _mismatched(entry: Entry) -> float:
    """Median error at the largest level; infinite where most copies lost stability."""
    return float(np.median(entry.mismatch_error[-1])) if len(entry.mismatch_error) else 0.0


# What is kept of every run: name, and how it is read off an entry.
SPREAD: dict[str, Callable[[Entry], float]] = {
    "correlation": lambda entry: entry.correlation,
    "power": lambda entry: entry.power,
    "distance": lambda entry: entry.distance,
    "settling_time": lambda entry: entry.settling_time,
    "margin": lambda entry: entry.margin,
    "lowest": _lowest,
    "mismatched": _mismatched,
}


def over_seeds(runs: Sequence[Comparison]) -> Comparison:
    """Return the first of several comparisons, with the numbers of all.

    Parameters
    ----------
    runs : sequence of Comparison
        The same forms on the same kind of data, with other seeds.

    Returns
    -------
    Comparison
        Its `seeds` and `before_over_seeds`, and `over_seeds` of its entries, hold a row per run.

    Raises
    ------
    InputError
        If the runs do not hold the same forms.
    """
    first = runs[0]
    names = [entry.name for entry in first.entries]
    if any([entry.name for entry in run.entries] != names for run in runs):
        raise InputError(f"runs over seeds must hold the same forms, {', '.join(names)}.")
    entries = tuple(
        replace(entry, over_seeds=np.array([[read(run.entries[k]) for read in SPREAD.values()] for run in runs]))
        for k, entry in enumerate(first.entries)
    )
    seeds = np.array([run.config["seed"] for run in runs], dtype=np.int64)
    before = np.array([run.correlation for run in runs])
    wall = sum(run.provenance.get("wall_seconds") or 0.0 for run in runs)
    return replace(
        first,
        config={**first.config, "seeds": len(runs)},
        provenance={**first.provenance, "wall_seconds": wall},
        entries=entries,
        seeds=seeds,
        before_over_seeds=before,
    )


def interval(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation over seeds, of a sample (N − 1).

    ::

        s = √(∑_k (a_k − ⟨a⟩)²/(N − 1))    over the runs k; 0 for one run

    Parameters
    ----------
    values : (seeds,) array
        One number per seed.
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
