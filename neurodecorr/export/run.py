"""Learnt circuits as files that other tools and chips read: what `neurodecorr export` does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neurodecorr._validation import choice, count, positive
from neurodecorr.circuit import Circuit, stability
from neurodecorr.circuit.stability import is_stable
from neurodecorr.errors import CheckpointError, ConfigError, StabilityError
from neurodecorr.export.bundle import Formats, export_bundle, reference_response
from neurodecorr.export.bundle.contents import EQUATION, MATRIX, Contents, make_contents
from neurodecorr.export.bundle.manifest import opening
from neurodecorr.export.circuits import Found, best_circuit, chosen_circuit, find_circuits
from neurodecorr.export.nir import write_nengo_script, write_nir
from neurodecorr.export.spice import write_spice
from neurodecorr.hardware.devices import map_to_conductances
from neurodecorr.io import Result, load_result
from neurodecorr.io.archive import atomic_folder
from neurodecorr.io.atomic import require_writable, write_text
from neurodecorr.io.manifest import content_hash
from neurodecorr.network import Network
from neurodecorr.training.runs import trained_network

TARGETS = ("csv", "npz", "nir", "spice", "bundle")
SUFFIXES = {"csv": "-csv", "npz": ".npz", "nir": ".nir", "spice": ".cir", "bundle": "-bundle"}
FOLDER = "exports"
WHOLE, WHOLES = "network", ("nir", "spice", "bundle")
NENGO = "nengo"


@dataclass(frozen=True)
class Written:
    """One thing that was exported.

    Parameters
    ----------
    name : str
        Of the circuit, or "network".
    path : Path
        The file or folder.
    what : str
        One line about the circuit.
    opening : str
        One line on how to open it.
    """

    name: str
    path: Path
    what: str
    opening: str


@dataclass(frozen=True)
class Export:
    """Describe an export.

    Parameters
    ----------
    to : {"csv", "npz", "nir", "spice", "bundle"}
        Format.
    circuit : str, optional
        Name of a circuit in the run; by default the best of a comparison, and every layer of a network.
    out : path-like, optional
        File or folder to write; by default in `exports` in the folder of the run.
    tau_s : float, optional
        τ in seconds; by default the run's τ is taken as seconds.
    samples : int
        Golden stimuli: so many held-out samples.
    formats : Formats
        Bits, conductances, dialects.
    overwrite : bool
        Whether something else that stands there already may be replaced.

    Raises
    ------
    ConfigError
        If an option lies outside its range.
    """

    to: str
    circuit: str | None = None
    out: str | os.PathLike[str] | None = None
    tau_s: float | None = None
    samples: int = 8
    formats: Formats = field(default_factory=Formats)
    overwrite: bool = False

    def __post_init__(self) -> None:
        choice(self.to, "to", TARGETS)
        count(self.samples, "samples")
        if self.tau_s is not None:
            positive(self.tau_s, "tau", "seconds")


def export_run(folder: str | os.PathLike[str], export: Export) -> list[Written]:
    """Export circuits of a run.

    Parameters
    ----------
    folder : path-like
        What `find_circuits` reads.
    export : Export
        Which circuit, to what, where.

    Returns
    -------
    list of Written
        One per circuit, or one for a whole network.

    Raises
    ------
    StabilityError
        If the circuit does not settle; the ones that do are named.
    InputError, ConfigError, CheckpointError
        If there is no such run or circuit, or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Result({"R": [[2.0, 1.0], [1.0, 2.0]]}, {"tau": 0.02}).save(Path(folder) / "result.npz")
    ...     (one,) = export_run(folder, Export("csv"))
    ...     (Path(folder) / one.path.relative_to(folder) / "R.csv").read_text().splitlines()[-1]
    'u1,1.0,2.0'
    """
    circuits, place = find_circuits(folder), Path(folder)
    layers = [name for name in circuits if name.startswith("layer")]
    if export.circuit == WHOLE or (export.circuit is None and layers):
        network = _network(place, export)
        if network is not None:
            return [_whole_network(place, network, circuits, export)]
        return [_one(place, circuits[name], _inside(export, circuits[name]), circuits) for name in layers]
    found = best_circuit(circuits) if export.circuit is None else chosen_circuit(circuits, export.circuit)
    return [_one(place, found, export, circuits)]


def _network(folder: Path, export: Export) -> Network | None:
    """Return the network of a training run if the format can hold all of it, None if its layers go one by one."""
    asked = export.circuit == WHOLE
    if export.to not in WHOLES:
        if asked:
            raise ConfigError(f"a whole network goes to {', '.join(WHOLES)}; got {export.to!r}. Leave out the circuit.")
        return None
    network = trained_network(load_result(folder))
    dense = all(len(layer.shape) == 1 for layer in network.layers)
    linear = all(layer.activation.name == "identity" for layer in network.layers)
    fits = dense and (export.to != "nir" or (linear and export.formats.dialect != NENGO))
    return network if fits or asked else None


def _one(folder: Path, found: Found, export: Export, circuits: dict[str, Found]) -> Written:
    tau_s = found.tau if export.tau_s is None else export.tau_s
    circuit = Circuit(found.R, tau_s)
    facts = stability(circuit)
    if not facts.stable:
        others = [name for name, one in circuits.items() if is_stable(one.R)]
        hint = f" Of this run {', '.join(map(repr, others))} settle: choose one of them." if others else ""
        raise StabilityError(
            f"{found.name!r} must have min Re λ(R) > 0 to be built as a circuit; it is {facts.margin:.3g}.{hint}"
        )
    path = _path(folder, found.name, export)
    kind = _unless_there(path, export.overwrite, lambda place: _WRITERS[export.to](found, circuit, place, export))
    shown = path / MATRIX if kind == "csv" else path
    return Written(found.name, path, _words(found, circuit, facts.margin), opening(kind, shown))


def _whole_network(folder: Path, network: Network, circuits: dict[str, Found], export: Export) -> Written:
    first, path = circuits["layer0"], _path(folder, WHOLE, export)
    x, formats = first.samples[: export.samples], export.formats
    tau_s = first.tau if export.tau_s is None else export.tau_s

    def write(place: Path) -> None:
        if export.to == "bundle":
            export_bundle(network, x, place, name=WHOLE, tau_s=tau_s, formats=formats, origin=_origin(first))
        elif export.to == "nir":
            dt_s = None if formats.dialect == "canonical" else formats.dt_s
            write_nir(network.as_circuit(tau_s, tau_s), place, formats.dialect, dt_s=dt_s)
        else:
            write_spice(network.as_circuit(tau_s, tau_s), x[0], place, simulator=formats.simulator)

    _unless_there(path, export.overwrite, write)
    sizes = " → ".join(str(size) for size in (network.layers[0].W.shape[1], *(len(one.W) for one in network.layers)))
    words = f"network of {sizes} units, {len(circuits)} circuits, τ = {tau_s:g} s"
    return Written(WHOLE, path, words, opening(formats.simulator if export.to == "spice" else export.to, path))


def _unless_there(path: Path, overwrite: bool, write: Callable[[Path], Any]) -> Any:
    """Write to a path, unless the same is there already; what is there else is not replaced unasked."""
    require_writable(path.parent)
    if overwrite or not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return write(path)
    with tempfile.TemporaryDirectory(prefix="neurodecorr-") as folder:
        made = write(Path(folder) / path.name)
        if content_hash(Path(folder) / path.name) != content_hash(path):
            raise CheckpointError(
                f"{path} is there already, and is something else or of other settings. Choose another place with "
                "--out, or replace it with --overwrite."
            )
    return made


def _csv(found: Found, circuit: Circuit, path: Path, export: Export) -> str:
    tables = _contents(found, circuit, export).tables()
    with atomic_folder(path, MATRIX) as folder:
        for name, text in tables.items():
            write_text(folder / name, text)
    return "csv"


def _npz(found: Found, circuit: Circuit, path: Path, export: Export) -> str:
    golden = _contents(found, circuit, export).golden
    arrays = {"R": found.R, "M": found.M, "mean": found.mean, "X": found.samples}
    arrays |= {f"golden_{name}": array for name, array in golden.arrays().items()}
    units = {"R, M": "1", "mean, X, golden_stimulus, golden_response, golden_bound, golden_course": "unit of the data"}
    meta = {"equation": EQUATION, "units": {**units, "golden_times, golden_dt_s": "s"}, "tau_s": circuit.tau}
    Result(arrays, {**meta, "name": found.name, "origin": _origin(found)}).save(path)
    return "npz"


def _nir(found: Found, circuit: Circuit, path: Path, export: Export) -> str:
    dialect = export.formats.dialect
    if dialect == NENGO:
        write_nengo_script(circuit, path, dt_s=_step(circuit, found, export))
        return NENGO
    write_nir(circuit, path, dialect, dt_s=None if dialect == "canonical" else _step(circuit, found, export))
    return "nir"


def _step(circuit: Circuit, found: Found, export: Export) -> float:
    """Return the step of a simulator in seconds: what was asked for, or one that resolves the fastest mode."""
    own = export.formats.dt_s
    return reference_response(circuit, found.drive[:1]).dt_s if own is None else own


def _spice(found: Found, circuit: Circuit, path: Path, export: Export) -> str:
    formats = export.formats
    pair = None
    if formats.kind == "crossbar":
        pair = map_to_conductances(found.R, formats.g_min, formats.g_max, formats.sides)  # type: ignore[arg-type]
    write_spice(circuit, found.drive[0], path, kind=formats.kind, simulator=formats.simulator, pair=pair)
    return formats.simulator


def _bundle(found: Found, circuit: Circuit, path: Path, export: Export) -> str:
    x, origin = found.drive[: export.samples], _origin(found)
    export_bundle(circuit, x, path, name=found.name, mean=found.mean, formats=export.formats, origin=origin)
    return "bundle"


_WRITERS: dict[str, Callable[[Found, Circuit, Path, Export], str]] = {
    "csv": _csv,
    "npz": _npz,
    "nir": _nir,
    "spice": _spice,
    "bundle": _bundle,
}


def _contents(found: Found, circuit: Circuit, export: Export) -> Contents:
    return make_contents(circuit, found.drive[: export.samples], found.mean, export.formats)


def _inside(export: Export, found: Found) -> Export:
    """Return the export of one of several circuits, which go into a folder if a place was given."""
    if export.out is None:
        return export
    return replace(export, out=Path(export.out) / f"{_slug(found.name)}{_suffix(export)}")


def _path(folder: Path, name: str, export: Export) -> Path:
    if export.out is not None:
        return Path(export.out)
    place = folder if folder.is_dir() else folder.parent
    return place / FOLDER / f"{_slug(name)}{_suffix(export)}"


def _suffix(export: Export) -> str:
    return ".py" if export.to == "nir" and export.formats.dialect == NENGO else SUFFIXES[export.to]


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name.replace("M*", "M_star"))


def _words(found: Found, circuit: Circuit, margin: float) -> str:
    learnt = "learnt" if found.learnt_as_circuit else "computed as M⁻¹"
    correlation = found.meta.get("correlation")
    left = "" if correlation is None else f", residual correlation {correlation:.3g}"
    return f"{circuit.size} units, R {learnt}{left}, τ = {circuit.tau:g} s, slowest mode {circuit.tau / margin:.3g} s"


def _origin(found: Found) -> dict[str, Any]:
    """Return where a circuit comes from, without the path on this machine."""
    kept: dict[str, Any] = {
        name: found.meta[name]
        for name in ("form", "rule", "correlation", "samples", "provenance")
        if name in found.meta
    }
    return {"circuit": found.name} | kept
