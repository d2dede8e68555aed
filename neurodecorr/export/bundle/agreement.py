"""Whether a bundle is what its weights make: every file and every fact is made anew from them and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr._numerics.norms import EPS, norms
from neurodecorr._typing import Floats
from neurodecorr.circuit import integrate, stability
from neurodecorr.errors import CheckpointError
from neurodecorr.export.bundle.contents import GOLDEN, WEIGHTS, Contents, Formats, Part, read_contents
from neurodecorr.export.bundle.reference_response import FINE, REACH, ReferenceResponse
from neurodecorr.io import Result, load_result
from neurodecorr.io.trees import Branch, read_tree

# Distance of two time courses over their size: it stays far below this on every machine, and a changed digit far above.
FLOW = 1e-9
# Facts, relative: digits that a reader may need. A bound may be this many times what is found here.
FACTS, HONEST = 1e-6, 100.0
# What rests on eigenvalues, on singular values, or on nothing exact.
SPECTRAL = {"min_re_lambda", "slowest_time_s", "fastest_time_s", "slowest_mode_s", "t_end_s"}
# Single precision, and an exponential whose last digits differ between machines.
SINGLE = 1e-6
VERSION = re.compile(r"[\w.+-]{1,40}")


def verified_contents(folder: Path, formats: Formats, facts: Any, prefix: str = "") -> Contents:
    """Read a circuit, and raise unless it settles, its weights in all formats are those of R, and the facts are true.

    ::

        min Re λ(R) > 0;    k 2⁻ᶠ and G⁺, G⁻ as from R;    ‖x̄ − R⁻¹x‖ within the certified bound;
        x̄(t + Δt) = x̄* + e^(−RΔt/τ)(x̄(t) − x̄*)

    Parameters
    ----------
    folder : Path
        Where the files lie.
    formats : Formats
        In which formats it should be.
    facts : dict
        What the manifest says of it.
    prefix : str
        Of the files' names, for messages.

    Returns
    -------
    Contents
        What the weights make, with the golden response that was read.

    Raises
    ------
    CheckpointError
        With the file or the fact, and the entry that differs most.
    """
    own, golden = read_contents(folder, formats, prefix)
    require_part(folder / WEIGHTS, own.weights_part(), f"{prefix}{WEIGHTS}")
    found, contents = stability(own.circuit), replace(own, golden=golden)
    _require_golden(golden, own, f"{prefix}{GOLDEN}")
    spectral = FACTS + 1e3 * EPS * _departure(own.circuit.R, found.margin)
    tolerances = dict.fromkeys(SPECTRAL, spectral) | {"condition": FACTS + 1e3 * EPS * found.condition}
    require_close(facts, contents.facts(formats), f"{prefix}manifest.json", tolerances)
    step = found.fastest_time / FINE
    if abs(golden.times[-1] - REACH * found.slowest_time) > 2 * spectral * golden.times[-1]:
        raise CheckpointError(f"{prefix}{GOLDEN}: times must end where the slowest mode has decayed to 1e-4.")
    if golden.dt_s > step * (1 + 2 * spectral):
        raise CheckpointError(f"{prefix}{GOLDEN}: dt_s must be at most {step!r} s; got {golden.dt_s!r} s.")
    return contents


def require_part(found: Path, wanted: Part, place: str) -> None:
    """Raise unless a file is what was made anew: texts byte for byte, arrays and graphs value for value.

    Parameters
    ----------
    found : Path
        The file.
    wanted : str, Result or Branch
        What it should hold.
    place : str
        Its name, for messages.

    Raises
    ------
    CheckpointError
        With the first line, array or part that differs.
    """
    if isinstance(wanted, str):
        _require_text(found.read_bytes(), wanted, place)
    elif isinstance(wanted, Result):
        own = load_result(found)
        if own.meta != wanted.meta or set(own.arrays) != set(wanted.arrays):
            raise CheckpointError(
                f"{place} must hold the arrays {', '.join(sorted(wanted.arrays))} and say {wanted.meta}; it differs."
            )
        for name, array in wanted.arrays.items():
            _same(own.arrays[name], array, f"{place}: {name}")
    else:
        _require_branch(read_tree(found), wanted, place)


def require_close(found: Any, wanted: Any, place: str, tolerances: Mapping[str, float], name: str = "") -> None:
    """Raise unless two JSON values are the same, numbers within a relative tolerance.

    Parameters
    ----------
    found, wanted : object
        What is said, and what should be.
    place : str
        Where, for messages.
    tolerances : mapping of str to float
        Of numbers by name; others within 1e-6.
    name : str
        Of the value.

    Raises
    ------
    CheckpointError
        With the name of the value.
    """
    if isinstance(wanted, dict) and isinstance(found, dict) and set(found) == set(wanted):
        for key, value in wanted.items():
            require_close(found[key], value, place, tolerances, key)
        return
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (found, wanted))
    if numbers and isinstance(wanted, float):
        # The error of many bits is a difference of almost equal numbers, and rounding itself.
        rounding = 1e3 * EPS if name == "response_error" else 0.0
        allowed = tolerances.get(name, FACTS) * max(abs(found), abs(wanted)) + rounding
        same = found == wanted or abs(found - wanted) <= allowed
    else:
        same = type(found) is type(wanted) and found == wanted
    if not same:
        raise CheckpointError(
            f"{place} must say {name or 'the same'} = {wanted!r}, as the files do; it says {found!r:.200}."
        )


def _departure(R: Floats, margin: float) -> float:
    """Return κ(V)‖R‖/margin: how many times the rounding of R its eigenvalues may move, relative to the margin."""
    vectors = np.linalg.eig(R)[1]
    return float(np.linalg.cond(vectors) * np.linalg.norm(R, 2) / margin)


def _require_golden(golden: ReferenceResponse, wanted: Contents, place: str) -> None:
    own = wanted.golden
    size = norms(own.response)
    gap = norms(golden.response - own.response)
    told = (gap <= golden.bound + own.bound) & (golden.bound <= HONEST * (own.bound + EPS * size))
    told &= golden.bound >= own.bound / HONEST
    if not told.all():
        raise CheckpointError(
            f"{place}: R x̄ = x must hold for every golden sample within a bound at rounding; at sample "
            f"{int(np.argmin(told))} it does not."
        )
    step = golden.times[1] - golden.times[0]
    even = np.allclose(golden.times, np.arange(len(golden.times)) * step, rtol=1e-12, atol=0)
    whole = np.rint(step / golden.dt_s) if golden.dt_s > 0 else 0.0
    if not even or not whole >= 1 or abs(step - whole * golden.dt_s) > 1e-9 * step or np.any(golden.course[0]):
        raise CheckpointError(f"{place}: the time course must begin at 0, from rest, in equal steps; it does not.")
    made = integrate(
        wanted.circuit, golden.stimulus[0], float(golden.times[-1]), "exponential", times=golden.times
    ).xbar
    error = np.abs(golden.course - made).max() / max(np.abs(golden.course).max(), np.finfo(float).tiny)
    if not error <= FLOW:
        raise CheckpointError(f"{place}: the time course must follow the exact flow of R; it leaves it by {error:.2e}.")


def _require_text(found: bytes, wanted: str, place: str) -> None:
    if found == wanted.encode():
        return
    own, other = found.decode("utf-8", "replace").split("\n"), wanted.split("\n")
    line = next((k for k, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), min(len(own), len(other)))
    got, meant = ((lines[line] if line < len(lines) else "nothing")[:80] for lines in (own, other))
    raise CheckpointError(f"{place} must be what the weights make; line {line + 1} must be {meant!r}, it is {got!r}.")


def _require_branch(found: Branch, wanted: Branch, place: str) -> None:
    if set(found.parts) != set(wanted.parts) or set(found.attributes) != set(wanted.attributes):
        names = set(found.parts) ^ set(wanted.parts) | set(found.attributes) ^ set(wanted.attributes)
        raise CheckpointError(
            f"{place} must hold what the weights make; of {sorted(names)[:4]} it has too much or too little."
        )
    for name, value in wanted.attributes.items():
        if not np.array_equal(np.asarray(found.attributes[name]), np.asarray(value)):
            raise CheckpointError(f"{place}: {name} must be {value!r}; it is {found.attributes[name]!r:.80}.")
    for name, part in wanted.parts.items():
        own, where = found.parts[name], f"{place}/{name}"
        if isinstance(part, Branch) != isinstance(own, Branch):
            raise CheckpointError(f"{where} must be what the weights make; it is of another kind.")
        if isinstance(part, Branch):
            _require_branch(own, part, where)
        else:
            _require_leaf(own, part, where, name)


def _require_leaf(found: Any, wanted: Any, place: str, name: str) -> None:
    if name in ("neurodecorr", "version"):  # of this package and of nir, that wrote it
        if not isinstance(found, str) or not VERSION.fullmatch(found):
            raise CheckpointError(f"{place} must be a version; it is {found!r:.80}.")
        return
    own, other = np.asarray(found), np.asarray(wanted)
    loose = name in ("min_re_lambda", "condition") or other.dtype == np.float32
    if not loose or own.shape != other.shape or own.dtype.kind != "f":
        _same(own, other, place)
    elif name not in ("min_re_lambda", "condition"):
        if not np.abs(own.astype(float) - other).max(initial=0.0) <= SINGLE * np.abs(other).max(initial=0.0):
            raise CheckpointError(f"{place} must be what R and τ make to single precision; it is not.")
    elif not np.isclose(float(own), float(other), rtol=1e-3):
        raise CheckpointError(f"{place} must be {float(other)!r}; it is {float(own)!r}.")


def _same(found: Any, wanted: Any, place: str) -> None:
    """Raise unless two arrays are equal to the bit."""
    if found.shape != wanted.shape or (found.dtype.kind == "U") != (wanted.dtype.kind == "U"):
        raise CheckpointError(f"{place} must be {wanted.dtype} {wanted.shape}; got {found.dtype} {found.shape}.")
    differs = found != wanted
    if wanted.dtype.kind == "f" and found.dtype.kind == "f":
        differs = differs | (np.signbit(found) != np.signbit(wanted))
    if np.any(differs):
        at = tuple(int(k) for k in np.argwhere(differs)[0])
        raise CheckpointError(
            f"{place} must be what the weights make, to the bit; at {at} it holds {found[at]!r}, not {wanted[at]!r} "
            f"({int(np.sum(differs))} such)."
        )
