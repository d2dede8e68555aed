"""The files of one circuit: written together, and read back to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import Array, choice, count, positive, real_array
from neurodecorr.circuit import Circuit, stability
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.hardware.bundle.fixed_point import BITS, FixedPoint, to_fixed_point
from neurodecorr.hardware.bundle.golden import Golden, golden_response
from neurodecorr.hardware.bundle.netlist import Netlist
from neurodecorr.hardware.bundle.tables import matrix_text
from neurodecorr.hardware.bundle.topology import topology_text
from neurodecorr.hardware.devices import Pair, map_to_conductances
from neurodecorr.hardware.devices.limits import conductance_range
from neurodecorr.hardware.devices.pairs import SIDES
from neurodecorr.hardware.nir import TimeGridded, nir_parts
from neurodecorr.hardware.nir.dialects import DIALECTS
from neurodecorr.hardware.nir.script import nengo_script
from neurodecorr.hardware.spice.circuits import KINDS
from neurodecorr.hardware.spice.deck import SIMULATORS
from neurodecorr.recording import Branch, Result, load_result, write_text, write_tree

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
    "Part",
    "contents_parts",
    "dialect_file",
    "make_contents",
    "read_contents",
    "write_part",
]

Floats = npt.NDArray[np.floating[Any]]
Part = str | Result | Branch

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
        """Return all CSV tables by file name. Each states τ."""
        R, fixed, pair, tau = self.circuit.R, self.fixed, self.pair, f"tau = {self.circuit.tau!r} s"
        u = [f"u{j}" for j in range(len(R))]
        scale = f"R = (G_plus - G_minus)/s with s = {pair.scale!r} S per unit of weight"
        columns = ("Rows are postsynaptic, columns presynaptic.", f"tau dxbar/dt = x - R xbar, {tau}")
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
                (f"Mean of each raw input; x = raw input - mean; {tau}",),
                self.mean[:, None],
                ["mean"],
                self._inputs(),
                "input",
            ),
            TOPOLOGY: topology_text(R, self.circuit.tau),
            **self.golden.tables(self.circuit.tau),
        }

    def facts(self, formats: Formats) -> dict[str, Any]:
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
            "netlist": self.netlist(formats).facts(),
        }

    def netlist(self, formats: Formats) -> Netlist:
        """Return the netlist."""
        return Netlist(self.circuit, self.golden, self.pair, formats.kind, formats.simulator)

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


def contents_parts(contents: Contents, formats: Formats, facts: Mapping[str, Any]) -> dict[str, Part]:
    """Return all files of one circuit by name: texts, results and graphs.

    Every byte of a text follows from the weights, the golden numbers and the facts, on every machine: what sums would
    round otherwise elsewhere is a fact.

    Parameters
    ----------
    contents : Contents
        The circuit.
    formats : Formats
        In which formats.
    facts : mapping
        From `Contents.facts`, or what a manifest says in their place.
    """
    golden, circuit = contents.golden, contents.circuit
    units = {"times": "s", "dt_s": "s"}
    parts: dict[str, Part] = {
        WEIGHTS: Result(contents.arrays(), {"equation": EQUATION}),
        GOLDEN: Result(golden.arrays(), {"equation": EQUATION, "units": units}),
        **contents.tables(),
        NIR: nir_parts(circuit, data=_observed(golden)),
        SPICE: contents.netlist(formats).text(facts["netlist"]),
    }
    dt_s = golden.dt_s if formats.dt_s is None else formats.dt_s
    own = dialect_file(formats.dialect)
    if formats.dialect == "nengo":
        script = dialect_file("nengo", "py")
        parts |= {script: nengo_script(circuit, script, dt_s=dt_s), own: nir_parts(circuit)}
    elif formats.dialect != "canonical":
        parts[own] = nir_parts(circuit, formats.dialect, dt_s=dt_s)
    return parts


def write_part(path: Path, part: Part) -> None:
    """Write one file of a bundle."""
    if isinstance(part, str):
        write_text(path, part)
    elif isinstance(part, Result):
        part.save(path)
    else:
        write_tree(path, part)


def read_contents(folder: Path, formats: Formats, prefix: str = "") -> Contents:
    """Read the weights and the golden response of one circuit.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    formats : Formats
        In which formats.
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
    tau, scale, (low, high) = (
        _array(found, name, dimensions, place).tolist()
        for name, dimensions in (("tau_s", 0), ("G_scale_S", 0), ("G_range_S", 1))
    )
    bits, fraction = _array(found, "fixed_bits", 1, place, "i").tolist()
    if not (2 <= bits <= 32 and abs(fraction) <= LARGEST_EXPONENT):
        raise CheckpointError(
            f"{place}: fixed_bits must be 2 … 32 and an exponent of a double; got {bits}, {fraction}."
        )
    fixed = FixedPoint(_array(found, "R_fixed", 2, place, "i"), bits, fraction)
    plus, minus = (_array(found, name, 2, place) for name in ("G_plus_S", "G_minus_S"))
    pair = Pair(plus, minus, scale, low, high, formats.sides)  # type: ignore[arg-type]
    mean = _array(found, "mean", 1, place)
    shapes = [a.shape for a in (R, fixed.integers, pair.plus, pair.minus, mean)]
    if shapes not in ([(n, n)] * 4 + [(n,)], [(n, n)] * 3 + [(1, n), (n,)]):
        raise CheckpointError(f"{place} must hold square weights in all formats and a mean; got the shapes {shapes}.")
    golden = Golden.from_arrays(load_result(folder / GOLDEN).arrays, f"{prefix}{GOLDEN}")
    if golden.stimulus.shape[1] != n:
        raise CheckpointError(f"{prefix}{GOLDEN} must be for {n} units; got {golden.stimulus.shape[1]}.")
    return Contents(Circuit(R, tau), mean, fixed, pair, golden)


def dialect_file(dialect: str, suffix: str = "nir") -> str:
    """Return the name of the NIR file in a dialect of its own."""
    return f"circuit_{dialect}.{suffix}"


def _observed(golden: Golden) -> dict[str, dict[str, TimeGridded]]:
    """Return the golden time course as NIRData."""
    step = float(golden.times[1] - golden.times[0])
    held = np.repeat(golden.stimulus[:1, None], len(golden.times), axis=1)
    return {"input": {"x": TimeGridded(held, step)}, "xbar": {"v": TimeGridded(golden.course[None], step)}}


def _array(found: dict[str, Array], name: str, dimensions: int, place: str, kind: str = "fiu") -> Array:
    """Return an array in float64, or whole numbers in the most bits: nothing is computed in the dtype of a file."""
    array = found.get(name)
    if array is None or array.ndim != dimensions or array.dtype.kind not in kind:
        got = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise CheckpointError(f"{place} must hold numbers {name!r} with {dimensions} dimensions; got {got}.")
    return array.astype(np.int64) if kind == "i" else real_array(array, name).astype(np.float64)


def _response_error(weights: Floats, golden: Golden) -> float:
    """Return the rms difference of the settled response under rounded weights, relative to the golden one."""
    gap = np.linalg.solve(weights, golden.stimulus.T).T - golden.response
    return float(np.linalg.norm(gap) / max(np.linalg.norm(golden.response), np.finfo(float).tiny))
