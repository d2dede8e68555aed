"""The files of one circuit: written together, and read back to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import Array, choice, count, positive
from neurodecorr.circuit import Circuit, stability
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.hardware.bundle.fixed_point import BITS, FixedPoint, to_fixed_point
from neurodecorr.hardware.bundle.golden import Golden, golden_response
from neurodecorr.hardware.bundle.tables import matrix_text
from neurodecorr.hardware.bundle.topology import topology_text
from neurodecorr.hardware.devices import Pair, map_to_conductances
from neurodecorr.hardware.devices.limits import conductance_range
from neurodecorr.hardware.devices.pairs import SIDES
from neurodecorr.hardware.nir import TimeGridded, write_nengo_script, write_nir
from neurodecorr.hardware.nir.dialects import DIALECTS
from neurodecorr.hardware.spice import write_spice
from neurodecorr.hardware.spice.circuits import KINDS
from neurodecorr.hardware.spice.deck import SIMULATORS
from neurodecorr.recording import Result, load_result, write_text

__all__ = [
    "EQUATION",
    "FIXED",
    "GOLDEN",
    "MATRIX",
    "MEAN",
    "MINUS",
    "NIR",
    "PLUS",
    "SPICE",
    "TOPOLOGY",
    "WEIGHTS",
    "Contents",
    "Formats",
    "dialect_file",
    "make_contents",
    "read_contents",
    "write_contents",
]

Floats = npt.NDArray[np.floating[Any]]

WEIGHTS, GOLDEN, TOPOLOGY, NIR, SPICE = "weights.npz", "golden.npz", "topology.csv", "circuit.nir", "circuit.cir"
MATRIX, FIXED, PLUS, MINUS, MEAN = "R.csv", "R_fixed.csv", "G_plus.csv", "G_minus.csv", "mean.csv"
LARGEST_EXPONENT = 1100
EQUATION = (
    "τ dx̄/dt = x − R x̄, at rest x̄ = R⁻¹ x; R[i, j] acts from unit j (column, presynaptic) on unit i (row, "
    "postsynaptic), R[i, j] > 0 inhibits; x is the raw input minus its mean"
)


@dataclass(frozen=True)
class Formats:
    """Describe in which formats a circuit is exported.

    Parameters
    ----------
    bits : int
        Of the fixed-point weights, 2 … 32, the sign included.
    g_min, g_max : float
        Range of a device in siemens.
    sides : {"two", "one"}
        A device for each sign, or one device and a shared reference; see `map_to_conductances`.
    dialect : {"canonical", "sinabs", "rockpool", "nengo"}
        Of a second NIR file, for a simulator that runs its numbers unchanged, see `write_nir`; "nengo": a script and
        its graph, see `write_nengo_script`.
    dt_s : float, optional
        Step of that simulator in seconds; a twentieth of the fastest time constant by default.
    kind : {"ota", "crossbar"}
        Of the netlist; see `write_spice`.
    simulator : {"ngspice", "gnucap"}
        For which the netlist is.

    Raises
    ------
    ConfigError
        If an option is unknown or out of range, whether or not a format uses it.
    """

    bits: int = 16
    g_min: float = 0.0
    g_max: float = 25e-6
    sides: str = "two"
    dialect: str = "canonical"
    dt_s: float | None = None
    kind: str = "ota"
    simulator: str = "ngspice"

    def __post_init__(self) -> None:
        if not BITS[0] <= count(self.bits, "bits") <= BITS[1]:
            raise ConfigError(f"bits must be {BITS[0]} … {BITS[1]}, the sign included; got {self.bits}.")
        conductance_range(self.g_min, self.g_max)
        known = {"sides": SIDES, "dialect": (*DIALECTS, "nengo"), "kind": KINDS, "simulator": SIMULATORS}
        for name, names in known.items():
            choice(getattr(self, name), name, names)
        if self.dt_s is not None:
            positive(self.dt_s, "dt_s", "seconds")


@dataclass(frozen=True, eq=False)
class Contents:
    """One circuit of a bundle.

    Parameters
    ----------
    circuit : Circuit
        R, and τ in seconds.
    mean : (n,) array
        μ to subtract from the raw input, in its unit.
    fixed : FixedPoint
        R as whole numbers.
    pair : Pair
        R as conductances in siemens.
    golden : Golden
        Stimuli and responses.
    """

    circuit: Circuit
    mean: Floats
    fixed: FixedPoint
    pair: Pair
    golden: Golden

    def __repr__(self) -> str:
        return f"Contents({self.circuit}, {self.fixed}, sides={self.pair.sides!r}, {self.golden})"

    def arrays(self) -> dict[str, Any]:
        """Return the weights in all formats, by name."""
        fixed, pair = self.fixed, self.pair
        return {
            "R": self.circuit.R,
            "mean": self.mean,
            "tau_s": np.array(self.circuit.tau),
            "R_fixed": fixed.integers,
            "fixed_bits": np.array([fixed.bits, fixed.fraction_bits]),
            "G_plus_S": pair.plus,
            "G_minus_S": pair.minus,
            "G_scale_S": np.array(pair.scale),
            "G_range_S": np.array([pair.g_min, pair.g_max]),
        }

    def tables(self) -> dict[str, str]:
        """Return all CSV tables by file name."""
        R, fixed, pair = self.circuit.R, self.fixed, self.pair
        u = [f"u{j}" for j in range(len(R))]
        scale = f"R = (G_plus - G_minus)/s with s = {pair.scale!r} S per unit of weight"
        columns = ("Rows are postsynaptic, columns presynaptic.", "tau dxbar/dt = x - R xbar")
        lone = "One row: the reference device of each column, shared by all rows." if len(pair.minus) < len(R) else ""
        return {
            MATRIX: matrix_text(("Lateral weights R, dimensionless.", *columns), R, u, u, "post"),
            FIXED: matrix_text(
                (f"Lateral weights R as {fixed.bits}-bit whole numbers, {fixed.name}: R = k {fixed.step!r}.", *columns),
                fixed.integers,
                u,
                u,
                "post",
            ),
            PLUS: matrix_text(("Conductances G+ in siemens.", scale, *columns), pair.plus, u, u, "post"),
            MINUS: matrix_text(
                ("Conductances G- in siemens.", scale, *columns, *([lone] if lone else [])),
                pair.minus,
                u,
                u if not lone else ["reference"],
                "post",
            ),
            MEAN: matrix_text(
                ("Mean of each raw input; x = raw input - mean.",),
                self.mean[:, None],
                ["mean"],
                self._inputs(),
                "input",
            ),
            TOPOLOGY: topology_text(R),
            **self.golden.tables(),
        }

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says about the circuit, in JSON types."""
        R, found = self.circuit.R, stability(self.circuit)
        return {
            "n": self.circuit.size,
            "tau_s": self.circuit.tau,
            "dt_s": self.golden.dt_s,
            "margin": {"min_re_lambda": found.margin, "unit": "1/tau", "stable": bool(found.stable)},
            "slowest_time_s": found.slowest_time,
            "fastest_time_s": found.fastest_time,
            "condition": found.condition,
            "weights": {
                "float": {"type": "float64", "unit": "1", "least": float(R.min()), "largest": float(R.max())},
                "fixed": self._fixed_facts(),
                "conductances": self._conductance_facts(),
            },
            "golden": self._golden_facts(),
        }

    def _fixed_facts(self) -> dict[str, Any]:
        fixed = self.fixed
        weights = fixed.weights()
        margin = float(np.linalg.eigvals(weights).real.min())
        return {
            "format": fixed.name,
            "bits": fixed.bits,
            "fraction_bits": fixed.fraction_bits,
            "step": fixed.step,
            "worst_error": float(np.abs(weights - self.circuit.R).max()),
            "min_re_lambda": margin,
            "stable": margin > 0,
            "response_error": _response_error(weights, self.golden) if margin > 0 else None,
        }

    def _conductance_facts(self) -> dict[str, Any]:
        pair = self.pair
        return {
            "law": "R = (G_plus - G_minus)/scale",
            "sides": pair.sides,
            "scale_S": pair.scale,
            "g_min_S": pair.g_min,
            "g_max_S": pair.g_max,
        }

    def _golden_facts(self) -> dict[str, Any]:
        golden = self.golden
        size = float(np.abs(golden.response).max())
        return {
            "samples": len(golden.stimulus),
            "start": 0.0,
            "t_end_s": float(golden.times[-1]),
            "points": len(golden.times),
            "worst_certified_bound": float(golden.bound.max()),
            "largest_activity": size,
            "rest_by": "factorised R with a certified bound",
            "course_by": "exact flow",
        }

    def _inputs(self) -> list[str]:
        return [f"x{i}" for i in range(len(self.mean))]


def make_contents(circuit: Circuit, X: npt.ArrayLike, mean: Floats, formats: Formats) -> Contents:
    """Return a circuit in all formats, with golden responses to the stimuli X."""
    pair = map_to_conductances(circuit.R, formats.g_min, formats.g_max, formats.sides)  # type: ignore[arg-type]
    return Contents(circuit, mean, to_fixed_point(circuit.R, formats.bits), pair, golden_response(circuit, X))


def write_contents(folder: Path, contents: Contents, formats: Formats) -> None:
    """Write the files of one circuit into an existing folder."""
    Result(contents.arrays(), {"equation": EQUATION}).save(folder / WEIGHTS)
    Result(contents.golden.arrays(), {"equation": EQUATION, "units": {"times": "s", "dt_s": "s"}}).save(folder / GOLDEN)
    for name, text in contents.tables().items():
        write_text(folder / name, text)
    write_nir(contents.circuit, folder / NIR, data=_observed(contents.golden))
    dt_s = contents.golden.dt_s if formats.dt_s is None else formats.dt_s
    if formats.dialect == "nengo":
        write_nengo_script(contents.circuit, folder / dialect_file("nengo", "py"), dt_s=dt_s)
    elif formats.dialect != "canonical":
        write_nir(contents.circuit, folder / dialect_file(formats.dialect), formats.dialect, dt_s=dt_s)
    write_spice(
        contents.circuit,
        contents.golden.stimulus[0],
        folder / SPICE,
        kind=formats.kind,
        simulator=formats.simulator,
        pair=contents.pair if formats.kind == "crossbar" else None,
    )


def read_contents(folder: Path, prefix: str = "") -> Contents:
    """Read the weights and the golden response of one circuit.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    prefix : str
        Of their names, for messages.

    Raises
    ------
    CheckpointError
        If an array is missing or of another shape or type.
    """
    place = f"{prefix}{WEIGHTS}"
    found = load_result(folder / WEIGHTS).arrays
    R = _array(found, "R", 2, place)
    n = len(R)
    tau, (bits, fraction), scale, (low, high) = (
        _array(found, name, dimensions, place).tolist()
        for name, dimensions in (("tau_s", 0), ("fixed_bits", 1), ("G_scale_S", 0), ("G_range_S", 1))
    )
    if not (2 <= bits <= 32 and abs(fraction) <= LARGEST_EXPONENT):
        raise CheckpointError(
            f"{place}: fixed_bits must be 2 … 32 and an exponent of a double; got {bits}, {fraction}."
        )
    fixed = FixedPoint(_array(found, "R_fixed", 2, place, "i"), bits, fraction)
    pair = Pair(_array(found, "G_plus_S", 2, place), _array(found, "G_minus_S", 2, place), scale, low, high)
    mean = _array(found, "mean", 1, place)
    shapes = [a.shape for a in (R, fixed.integers, pair.plus, pair.minus, mean)]
    if shapes not in ([(n, n)] * 4 + [(n,)], [(n, n)] * 3 + [(1, n), (n,)]):
        raise CheckpointError(f"{place} must hold square weights in all formats and a mean; got the shapes {shapes}.")
    golden = Golden.from_arrays(load_result(folder / GOLDEN).arrays, f"{prefix}{GOLDEN}")
    return Contents(Circuit(R, tau), mean, fixed, pair, golden)


def dialect_file(dialect: str, suffix: str = "nir") -> str:
    """Return the name of the NIR file in a dialect of its own."""
    return f"circuit_{dialect}.{suffix}"


def _observed(golden: Golden) -> dict[str, dict[str, TimeGridded]]:
    """Return the golden time course as NIRData."""
    step = float(golden.times[1] - golden.times[0])
    held = np.repeat(golden.stimulus[:1, None], len(golden.times), axis=1)
    return {"input": {"x": TimeGridded(held, step)}, "xbar": {"v": TimeGridded(golden.course[None], step)}}


def _array(found: dict[str, Array], name: str, dimensions: int, place: str, kind: str = "fi") -> Array:
    array = found.get(name)
    if array is None or array.ndim != dimensions or array.dtype.kind not in kind:
        got = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise CheckpointError(f"{place} must hold numbers {name!r} with {dimensions} dimensions; got {got}.")
    return array


def _response_error(weights: Floats, golden: Golden) -> float:
    """Return the rms difference of the settled response under rounded weights, relative to the golden one."""
    gap = np.linalg.solve(weights, golden.stimulus.T).T - golden.response
    return float(np.linalg.norm(gap) / max(np.linalg.norm(golden.response), np.finfo(float).tiny))
