"""Whether the files of a circuit agree: every format against R, the golden response against the equation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError
from neurodecorr.hardware.bundle.contents import (
    FIXED,
    GOLDEN,
    MATRIX,
    MEAN,
    MINUS,
    NIR,
    PLUS,
    SPICE,
    TOPOLOGY,
    WEIGHTS,
    Contents,
    dialect_file,
)
from neurodecorr.hardware.bundle.netlist import read_netlist
from neurodecorr.hardware.bundle.tables import read_matrix
from neurodecorr.hardware.bundle.topology import read_topology
from neurodecorr.hardware.nir import read_nir, read_nir_data
from neurodecorr.hardware.nir.dialects import DIALECTS

__all__ = ["course_error", "require_agreement", "response_residual"]

Floats = npt.NDArray[np.floating[Any]]
EPS = float(np.finfo(np.float64).eps)
# Backward error of a solved system over n ε, and error of the exponential of a matrix over that of its norm: both stay
# far below these in practice, and a changed digit stays far above.
SOLVED, FLOW = 16.0, 1e-9
CARDS = 1e-9  # of a netlist's expected x̄, which another solver found, relative to the largest


def require_agreement(contents: Contents, folder: Path, prefix: str = "") -> None:
    """Raise unless all files of a circuit say the same.

    ::

        topology → R and tables → arrays, to the bit;    |k 2⁻ᶠ − R| ≤ 2⁻ᶠ⁻¹;    (G⁺ − G⁻)/s = R to rounding;
        NIR → R and τ;    cards of the netlist → R, τ, x and x̄ to rounding;    R x̄ = x to rounding;
           x̄(t + Δt) = x̄* + e^(−RΔt/τ)(x̄(t) − x̄*)

    Parameters
    ----------
    contents : Contents
        What was read.
    folder : Path
        Where the other files lie.
    prefix : str
        Of their names, for messages.

    Raises
    ------
    CheckpointError
        With the file, and the entry that differs most.
    """
    texts = _texts(folder, prefix)
    _require_fixed(contents, prefix)
    _require_conductances(contents, prefix)
    _require_tables(contents, texts, prefix)
    _same(read_topology(texts[TOPOLOGY], f"{prefix}{TOPOLOGY}"), contents.circuit.R, f"{prefix}{TOPOLOGY}", "R")
    contents.golden.require_tables(texts, prefix)
    _require_golden(contents, prefix)
    _require_nir(contents, folder, prefix)
    _require_netlist(contents, folder, prefix)


def response_residual(contents: Contents) -> float:
    """Return the largest ‖x − R x̄‖ of the golden samples over what rounding allows; at most 1 if it holds.

    ::

        ‖x − R x̄‖ ≤ 16 n ε (‖R‖ ‖x̄‖ + ‖x‖)
    """
    R, golden = contents.circuit.R, contents.golden
    gap = np.linalg.norm(golden.stimulus - golden.response @ R.T, axis=1)
    size = np.linalg.norm(R) * np.linalg.norm(golden.response, axis=1) + np.linalg.norm(golden.stimulus, axis=1)
    return float((gap / (SOLVED * len(R) * EPS * np.maximum(size, np.finfo(float).tiny))).max())


def course_error(contents: Contents) -> float:
    """Return by how much the golden time course leaves the exact flow from point to point, relative to its size."""
    golden = contents.golden
    step = float(golden.times[1] - golden.times[0])
    flow = scipy.linalg.expm(-contents.circuit.R * (step / contents.circuit.tau))
    rest = golden.response[0]
    expected = rest + (golden.course[:-1] - rest) @ flow.T
    return float(np.abs(golden.course[1:] - expected).max() / max(np.abs(golden.course).max(), np.finfo(float).tiny))


def _texts(folder: Path, prefix: str) -> dict[str, str]:
    texts = {}
    for file in sorted(folder.glob("*.csv")):
        try:
            texts[file.name] = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{prefix}{file.name} must be text in UTF-8; it is not.") from None
    return texts


def _require_fixed(contents: Contents, prefix: str) -> None:
    fixed, R = contents.fixed, contents.circuit.R
    least, most = -(2 ** (fixed.bits - 1)), 2 ** (fixed.bits - 1) - 1
    if fixed.integers.min() < least or fixed.integers.max() > most:
        raise CheckpointError(f"{prefix}{WEIGHTS}: R_fixed must fit {fixed.bits} bits, {least} … {most}; it does not.")
    _near(fixed.weights(), R, fixed.step / 2, f"{prefix}{WEIGHTS}", "R_fixed")


def _require_conductances(contents: Contents, prefix: str) -> None:
    pair, place = contents.pair, f"{prefix}{WEIGHTS}"
    both = np.concatenate([pair.plus, pair.minus])
    if not pair.g_min * (1 - 4 * EPS) <= both.min() <= both.max() <= pair.g_max * (1 + 4 * EPS):
        raise CheckpointError(f"{place}: conductances must lie in {pair.g_min:g} … {pair.g_max:g} S; they do not.")
    _near(pair.weights(), contents.circuit.R, 4 * EPS * pair.g_max / pair.scale, place, "(G_plus_S − G_minus_S)/s")


def _require_tables(contents: Contents, texts: dict[str, str], prefix: str) -> None:
    pair, whole = contents.pair, contents.fixed.integers
    arrays = {
        MATRIX: contents.circuit.R,
        FIXED: whole,
        PLUS: pair.plus,
        MINUS: pair.minus,
        MEAN: contents.mean[:, None],
    }
    for name, array in arrays.items():
        dtype = np.int64 if array.dtype.kind == "i" else np.float64
        _, found = read_matrix(texts[name], array.shape[1], f"{prefix}{name}", dtype)
        _same(found, array, f"{prefix}{name}", WEIGHTS)


def _require_golden(contents: Contents, prefix: str) -> None:
    place, golden = f"{prefix}{GOLDEN}", contents.golden
    if golden.stimulus.shape[1] != contents.circuit.size:
        raise CheckpointError(f"{place} must be for {contents.circuit.size} units; got {golden.stimulus.shape[1]}.")
    if not response_residual(contents) <= 1:
        raise CheckpointError(f"{place}: R x̄ = x must hold for every golden sample to rounding; it does not.")
    step = golden.times[1] - golden.times[0]
    even = np.allclose(golden.times, np.arange(len(golden.times)) * step, rtol=1e-12, atol=0)
    if not even or not golden.dt_s > 0 or np.any(golden.course[0]):
        raise CheckpointError(f"{place}: the time course must begin at 0, from rest, in equal steps; it does not.")
    error = course_error(contents)
    if not error <= FLOW:
        raise CheckpointError(f"{place}: the time course must follow the exact flow of R; it leaves it by {error:.2e}.")


def _require_nir(contents: Contents, folder: Path, prefix: str) -> None:
    circuit, golden = contents.circuit, contents.golden
    for file in (
        NIR,
        *(dialect_file(name) for name in (*DIALECTS, "nengo") if (folder / dialect_file(name)).is_file()),
    ):
        place, found = f"{prefix}{file}", read_nir(folder / file)
        if not isinstance(found, Circuit) or found.tau != circuit.tau:
            raise CheckpointError(f"{place} must be a circuit with τ = {circuit.tau!r} s; got {found!r}.")
        _same(found.R, circuit.R, place, "R")
    observed = {name.partition("_")[2]: signals for name, signals in read_nir_data(folder / NIR).items()}
    course = observed["xbar"]["v"]
    if abs(course.dt_s - golden.times[1]) > 4 * EPS * golden.times[1]:
        raise CheckpointError(f"{prefix}{NIR}: activity must be {golden.times[1]!r} s apart; got {course.dt_s!r} s.")
    _same(course.data[0], golden.course, f"{prefix}{NIR}", f"the time course of {GOLDEN}")


def _require_netlist(contents: Contents, folder: Path, prefix: str) -> None:
    place, circuit, golden = f"{prefix}{SPICE}", contents.circuit, contents.golden
    try:
        text = (folder / SPICE).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{place} must be text in UTF-8; it is not.") from None
    found = read_netlist(text, circuit.size, place)
    # A card is a product or a quotient of two doubles, and conductances add their own rounding of the largest.
    _near(found.R, circuit.R, 16 * EPS * float(np.abs(circuit.R).max()) + _offset(contents), place, "the weight")
    for name, got, wanted, tolerance in (
        ("x", found.x, golden.stimulus[0], 4 * EPS),
        ("τ", found.tau_s, np.full(circuit.size, circuit.tau), 4 * EPS),
        ("x̄", found.expected, golden.response[0], CARDS),
    ):
        if got.shape != wanted.shape or not np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max():
            raise CheckpointError(f"{place}: {name} must be that of {prefix}{GOLDEN} and {WEIGHTS}; it is not.")


def _offset(contents: Contents) -> float:
    """Return the rounding of conductances that lie far from 0, as weights."""
    return 4 * EPS * contents.pair.g_max / contents.pair.scale


def _near(found: Floats, wanted: Floats, tolerance: float, place: str, name: str) -> None:
    gap = np.abs(found - wanted)
    if not np.all(gap <= tolerance):
        i, j = np.unravel_index(int(np.argmax(np.where(np.isfinite(gap), gap, np.inf))), gap.shape)
        raise CheckpointError(
            f"{place}: {name} must be R within {tolerance:.3g}; at row {i}, column {j} it is {found[i, j]!r}, "
            f"R is {wanted[i, j]!r}."
        )


def _same(found: Any, wanted: Any, place: str, name: str) -> None:
    """Raise unless two matrices are equal to the bit."""
    if found.shape != wanted.shape:
        raise CheckpointError(f"{place} must have the shape {wanted.shape} of {name}; got {found.shape}.")
    differs = (found != wanted) | (np.signbit(found) != np.signbit(wanted))
    if differs.any():
        i, j = (int(k) for k in np.argwhere(differs)[0])
        raise CheckpointError(
            f"{place} must hold {name} to the bit; at row {i}, column {j} it holds {found[i, j]!r}, not "
            f"{wanted[i, j]!r} ({int(differs.sum())} such)."
        )
