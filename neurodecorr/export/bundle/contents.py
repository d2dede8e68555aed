"""The files of one circuit: written together, and read back to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, positive, real_array, square
from neurodecorr.circuit import Circuit, stability
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.export.bundle.fixed_point import BITS, FixedPoint, to_fixed_point
from neurodecorr.export.bundle.reference_response import ReferenceResponse, reference_response
from neurodecorr.export.nir.dialects import DIALECTS
from neurodecorr.export.nir.files import nir_parts
from neurodecorr.export.nir.nengo_script import nengo_script
from neurodecorr.export.spice.deck import SIMULATORS, Deck, probes
from neurodecorr.export.spice.netlist import KINDS, netlist
from neurodecorr.hardware.devices import map_to_conductances
from neurodecorr.hardware.devices.conductance_range import conductance_range
from neurodecorr.hardware.devices.pairs import SIDES, Pair
from neurodecorr.io import Result, load_result
from neurodecorr.io.atomic import write_text
from neurodecorr.io.cells import csv_text, matrix_text
from neurodecorr.io.trees import Branch, write_tree

COLUMNS = ("pre", "post", "kind", "weight", "unit")
UNIT = "1"
ABOUT = (
    "Connections of the circuit  tau dxbar/dt = x - R xbar,  one per row.",
    "pre -> post: the signal of pre reaches post. x0, x1, ... are inputs (centred: raw input minus mean), u0, u1, ...",
    "units; the activity of unit ui is xbar_i. Rows of R are postsynaptic, columns presynaptic.",
    "kind input: post is driven by +weight * x_pre.",
    "kind leak: the diagonal, R[i, i]; unit i decays by -weight * xbar_i.",
    "kind inhibitory or excitatory: R[post, pre]; post is driven by -weight * xbar_pre, so weight > 0 inhibits and",
    "weight < 0 excites. Absent pairs have weight 0.",
    "Weights are dimensionless (unit 1); drives are in the unit of x, divided by tau.",
)


def topology_text(R: npt.ArrayLike, tau_s: float | None = None) -> str:
    r"""Return the connections of a circuit as CSV.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights, dimensionless.
    tau_s : float, optional
        Time constant τ in seconds, to be stated above the table.

    Returns
    -------
    str
        Columns pre, post, kind, weight, unit. Inputs first, then by postsynaptic unit.

    Examples
    --------
    >>> import numpy as np
    >>> print("\n".join(topology_text(np.array([[2.0, 0.5], [0.0, 1.0]])).splitlines()[-6:]))
    pre,post,kind,weight,unit
    x0,u0,input,1.0,1
    x1,u1,input,1.0,1
    u0,u0,leak,2.0,1
    u1,u0,inhibitory,0.5,1
    u1,u1,leak,1.0,1
    """
    tau = "" if tau_s is None else f" tau = {positive(tau_s, 'tau_s', 'seconds')!r} s."
    about = (*ABOUT[:-1], ABOUT[-1] + tau)
    return csv_text(about, COLUMNS, _rows(square(R, "R").astype(np.float64)))


def _rows(R: Floats) -> Iterator[tuple[str, str, str, float, str]]:
    for i in range(len(R)):
        yield f"x{i}", f"u{i}", "input", 1.0, UNIT
    present = (R != 0) | np.signbit(R)  # -0.0 too: R comes back to the bit
    for i, j in np.argwhere(present).tolist():
        yield f"u{j}", f"u{i}", _kind(i, j, R[i, j]), float(R[i, j]), UNIT


def _kind(i: int, j: int, weight: float) -> str:
    if i == j:
        return "leak"
    return "inhibitory" if weight > 0 else "excitatory"


Part = str | Result | Branch

WEIGHTS, GOLDEN, TOPOLOGY, NIR, SPICE = "weights.npz", "golden.npz", "topology.csv", "circuit.nir", "circuit.cir"
MATRIX, FIXED, PLUS, MINUS, MEAN = "R.csv", "R_fixed.csv", "G_plus.csv", "G_minus.csv", "mean.csv"
EQUATION = (
    "τ dx̄/dt = x − R x̄, at rest x̄ = R⁻¹ x; R[i, j] acts from unit j (column, presynaptic) on unit i (row, "
    "postsynaptic), R[i, j] > 0 inhibits; x is the raw input minus its mean"
)


@short_repr
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


@short_repr
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
    golden : ReferenceResponse
        Stimuli and responses.
    """

    circuit: Circuit
    mean: Floats
    fixed: FixedPoint
    pair: Pair
    golden: ReferenceResponse

    def __repr__(self) -> str:
        return f"Contents({self.circuit}, {self.fixed}, sides={self.pair.sides!r}, {self.golden})"

    def weights_part(self) -> Result:
        """Return the weights in all formats, as the file of arrays that holds them."""
        fixed, pair = self.fixed, self.pair
        arrays = {
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
        return Result(arrays, {"equation": EQUATION})

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
            "netlist": self._netlist_facts(formats),
        }

    def netlist_text(self, formats: Formats, facts: Mapping[str, Any]) -> str:
        """Return the netlist under the first golden stimulus, which expects the golden response.

        The facts are what rests on eigenvalues, whose last digits differ from machine to machine; with them the text is
        the same to the byte on every machine.
        """
        deck = self._deck(formats, facts["t_end_s"])
        expected = probes("xbar", [probe.node for probe in deck.probes], self.golden.response[0])
        said = {**deck.facts, "slowest_mode_s": float(facts["slowest_mode_s"])}
        return replace(deck, facts=said, probes=expected).text()

    def _netlist_facts(self, formats: Formats) -> dict[str, float]:
        deck = self._deck(formats, None)
        return {"slowest_mode_s": float(deck.facts["slowest_mode_s"]), "t_end_s": deck.run.stop_s}

    def _deck(self, formats: Formats, t_end_s: float | None) -> Deck:
        pair, x = self.pair if formats.kind == "crossbar" else None, self.golden.stimulus[0]
        return netlist(self.circuit, x, formats.kind, formats.simulator, pair=pair, t_end_s=t_end_s)

    def _fixed_facts(self) -> dict[str, Any]:
        fixed = self.fixed
        weights = fixed.weights()
        slowest = margin(weights)
        return {
            "format": fixed.name,
            "bits": fixed.bits,
            "fraction_bits": fixed.fraction_bits,
            "step": fixed.step,
            "worst_error": float(np.abs(weights - self.circuit.R).max()),
            "min_re_lambda": slowest,
            "stable": slowest > 0,
            "response_error": _response_error(weights, self.golden) if slowest > 0 else None,
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
    return Contents(circuit, mean, to_fixed_point(circuit.R, formats.bits), pair, reference_response(circuit, X))


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
        WEIGHTS: contents.weights_part(),
        GOLDEN: Result(golden.arrays(), {"equation": EQUATION, "units": units}),
        **contents.tables(),
        NIR: nir_parts(circuit, data=_observed(golden)),
        SPICE: contents.netlist_text(formats, facts["netlist"]),
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


def read_contents(folder: Path, formats: Formats, prefix: str = "") -> tuple[Contents, ReferenceResponse]:
    """Read R, τ, μ and the stimuli of one circuit, and make everything else anew from them.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    formats : Formats
        In which formats.
    prefix : str
        Of their names, for messages.

    Returns
    -------
    Contents, ReferenceResponse
        What the weights make, and the golden response that was read.

    Raises
    ------
    CheckpointError
        If an array is missing or of another shape or type, the circuit does not settle, or the weights in another
        format are not those of R.
    """
    place, arrays = f"{prefix}{WEIGHTS}", load_result(folder / WEIGHTS).arrays
    read: dict[str, Floats] = {}
    for name, dimensions in (("R", 2), ("tau_s", 0), ("mean", 1)):
        array = arrays.get(name)
        if array is None or array.ndim != dimensions or array.dtype.kind not in "fiu":
            got = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise CheckpointError(f"{place} must hold numbers {name!r} with {dimensions} dimensions; got {got}.")
        read[name] = real_array(array, name).astype(np.float64)
    golden = ReferenceResponse.from_arrays(load_result(folder / GOLDEN).arrays, f"{prefix}{GOLDEN}")
    circuit = Circuit(read["R"], read["tau_s"].item())
    n = {circuit.size, len(read["mean"]), golden.stimulus.shape[1]}
    if len(n) > 1:
        raise CheckpointError(f"{place} and {GOLDEN} must be for the same number of units; got {sorted(n)}.")
    slowest = margin(circuit.R)
    if not slowest > 0:
        raise CheckpointError(f"{place}: R must have min Re λ > 0, or no device will settle; it is {slowest:.4g}.")
    own = make_contents(circuit, golden.stimulus, read["mean"], formats)
    return own, golden


def dialect_file(dialect: str, suffix: str = "nir") -> str:
    """Return the name of the NIR file in a dialect of its own."""
    return f"circuit_{dialect}.{suffix}"


def _observed(golden: ReferenceResponse) -> dict[str, dict[str, nir.TimeGriddedData]]:
    """Return the golden time course as NIRData."""
    step = float(golden.times[1] - golden.times[0])
    held = np.repeat(golden.stimulus[:1, None], len(golden.times), axis=1)
    return {
        "input": {"x": nir.TimeGriddedData(held, step)},
        "xbar": {"v": nir.TimeGriddedData(golden.course[None], step)},
    }


def _response_error(weights: Floats, golden: ReferenceResponse) -> float:
    """Return the rms difference of the settled response under rounded weights, relative to the golden one."""
    gap = np.linalg.solve(weights, golden.stimulus.T).T - golden.response
    return float(np.linalg.norm(gap) / max(np.linalg.norm(golden.response), np.finfo(float).tiny))
