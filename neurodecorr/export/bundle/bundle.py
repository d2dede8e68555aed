"""A bundle: one folder or zip file with everything that a circuit's hardware needs, and its loader."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import checked_path, finite, instance, mapping, positive, real_array, shown
from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.export.bundle.agreement import FACTS, require_close, require_part, verified_contents
from neurodecorr.export.bundle.contents import (
    Contents,
    Formats,
    Part,
    contents_parts,
    make_contents,
    write_part,
)
from neurodecorr.export.bundle.manifest import MANIFEST, README, checked_manifest, guide, manifest, require_checksums
from neurodecorr.export.bundle.network import (
    NETWORK,
    NetworkContents,
    circuits_of,
    read_stack,
    stack_facts,
    stack_of,
    stack_parts,
)
from neurodecorr.io import provenance
from neurodecorr.io.archive import MAX_BYTES, atomic_folder, read_files, relative_name, write_zip
from neurodecorr.io.atomic import write_json
from neurodecorr.io.json import plain
from neurodecorr.network import Network

STANDARD = Formats()


@short_repr
@dataclass(frozen=True, eq=False)
class Bundle:
    """What a bundle holds, after all of it was held against the rest.

    Parameters
    ----------
    name : str
        Of the circuit or network.
    circuits : dict of str to Contents
        One, or one per layer of a network: "layer0", "layer1", ….
    stack : NetworkContents or None
        Feedforward weights and responses of a network.
    manifest : dict
        The manifest.
    """

    name: str
    circuits: dict[str, Contents]
    stack: NetworkContents | None
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, circuits: {', '.join(self.circuits)})"

    @property
    def contents(self) -> Contents:
        """The one circuit.

        Raises
        ------
        ConfigError
            If there are several.
        """
        if len(self.circuits) > 1:
            raise ConfigError(f"choose a layer of this network by circuits[…]: {', '.join(self.circuits)}.")
        return next(iter(self.circuits.values()))


def export_bundle(
    circuit: Circuit | Network,
    x: npt.ArrayLike,
    path: str | os.PathLike[str],
    *,
    name: str = "circuit",
    mean: npt.ArrayLike | None = None,
    tau_s: float | None = None,
    formats: Formats = STANDARD,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write everything that building a circuit needs into one folder or zip file.

    ::

        τ dx̄/dt = x − R x̄

    Weights as floats, in fixed point and as conductances; every connection in a table; golden stimuli with the response
    to expect; NIR; a SPICE netlist; a manifest with units and checksums. Of a network the same for every layer, with
    its feedforward weights.

    Parameters
    ----------
    circuit : Circuit or Network
        The circuit, or a network of dense layers.
    x : (n,) or (k, n) array_like
        Golden stimuli. Of a circuit: centred, x − μ. Of a network: raw.
    path : path-like
        A folder, or a file that ends in ".zip". An older bundle there is replaced whole, or not at all.
    name : str
        What it is called in the manifest.
    mean : (n,) array_like, optional
        μ that hardware has to subtract from its raw input; zero by default. A network has its own.
    tau_s : float, optional
        τ in seconds; by default `circuit.tau` is taken as seconds, and 1 s for a network.
    formats : Formats
        Bits, range of conductances, dialects.
    origin : mapping, optional
        Where the weights come from, such as the provenance of the run; kept in the manifest.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    InputError, ConfigError
        If weights, stimuli, a name or an option cannot be used.
    CheckpointError
        If something else is at `path`, or it cannot be written.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_bundle(Circuit([[2.0, 1.0], [1.0, 2.0]], tau=0.02), [3.0, 3.0], Path(folder) / "pair.zip")
    ...     bundle = load_bundle(path)
    >>> bundle.contents.golden.response.round(12).tolist(), bundle.contents.fixed.name
    ([[1.0, 1.0]], 'Q2.13')
    """
    target, name = checked_path(path), _plain_name(name)
    instance(formats, Formats, "formats", "Formats")
    source = {} if origin is None else dict(mapping(origin, "origin"))
    stack, circuits = _parts(circuit, x, mean, tau_s)
    made = {key: make_contents(one, drive, centre, formats) for key, (one, drive, centre) in circuits.items()}
    # No time of writing: the same circuit gives the same bundle.
    record = provenance({"name": name, **asdict(formats)}, 0)
    about = {
        "options": asdict(formats),
        "origin": plain(source, "origin"),
        "provenance": {key: value for key, value in record.items() if key != "written_utc"},
    }
    if target.suffix.lower() != ".zip":
        with atomic_folder(target, MANIFEST) as folder:
            _fill(folder, name, made, stack, formats, about)
        return target
    with tempfile.TemporaryDirectory() as temporary:
        _fill(Path(temporary), name, made, stack, formats, about)
        return write_zip(target, read_files(temporary))


def load_bundle(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Bundle:
    """Read a bundle, and prove that it is whole and that all its files agree.

    Checksums tell of accidents. Against intent, every file is made anew from the weights, as an export would, and
    compared: tables, netlists, scripts and the page byte for byte, arrays and graphs value for value, the manifest with
    its equation, units and facts. The circuit must settle, R x̄ = x must hold on every golden sample, the golden time
    course must follow the exact flow.

    Parameters
    ----------
    path : path-like
        The folder or zip file that `export_bundle` wrote.
    max_bytes : int, default 1 GiB
        The most that all files may hold together, decompressed.

    Returns
    -------
    Bundle
        Its circuits.

    Raises
    ------
    CheckpointError
        If it is missing, damaged or hostile, if a file was changed (it is named), or if two files disagree.
    """
    files, place = read_files(path, max_bytes=max_bytes), str(path)
    files = _without_top(files)
    if MANIFEST not in files:
        raise CheckpointError(
            f"{place} must hold {MANIFEST}; it holds {', '.join(list(files)[:4]) or 'nothing'}. It is no bundle."
        )
    document = checked_manifest(files[MANIFEST], place)
    require_checksums(document, files, place)
    # What has been checked is read, and nothing that may have changed since.
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return _read(folder, document, files, place)


def _read(folder: Path, document: dict[str, Any], files: Mapping[str, bytes], place: str) -> Bundle:
    circuits: dict[str, Contents] = {}
    try:
        name, formats, facts = _plain_name(document["name"]), Formats(**document["options"]), document["circuits"]
        for key, said in facts.items():
            prefix = f"{place}: {key}/" if key else f"{place}: "
            part = folder / relative_name(key, place) if key else folder
            circuits[key] = verified_contents(part, formats, said, prefix)
        own = [(one.circuit.R, one.mean) for one in circuits.values()]
        stack = read_stack(folder, own, next(iter(circuits.values())).circuit.tau, place) if NETWORK in files else None
        whole = {} if stack is None else {"network": document["network"]}
        if stack is not None:
            _require_stack(stack, circuits, whole["network"], formats, place)
        made = _all_parts(name, circuits, stack, formats, facts, whole.get("network", {}))
        _require_files(folder, files, made, place)
        about = {"options": asdict(formats), "origin": document["origin"], "provenance": document["provenance"]}
        listed = {file: data for file, data in files.items() if file != MANIFEST}
        require_close(document, manifest(name, listed, facts, about | whole), f"{place}: {MANIFEST}", {})
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, ArithmeticError, OSError) as error:
        raise CheckpointError(
            f"{place} must hold every file of a bundle, of its kind: {type(error).__name__}: {error}."
        ) from error
    return Bundle(name, {key or name: one for key, one in circuits.items()}, stack, document)


def _require_stack(
    stack: NetworkContents, circuits: Mapping[str, Contents], facts: Any, formats: Formats, place: str
) -> None:
    """Raise unless the layers' stimuli are what the network gives them, and its facts are true."""
    for (key, one), drive in zip(circuits.items(), stack.drives, strict=True):
        if not np.array_equal(one.golden.stimulus, drive):
            raise CheckpointError(f"{place}: {key}/golden.npz must hold the inputs that {NETWORK} gives this layer.")
    if len({one.circuit.tau for one in circuits.values()}) != 1:
        raise CheckpointError(f"{place}: all layers must have the same tau_s; they differ.")
    require_close(facts, stack_facts(stack, formats.simulator), f"{place}: {MANIFEST}", {"t_end_s": 1e3 * FACTS})


def _require_files(folder: Path, files: Mapping[str, bytes], made: Mapping[str, Part], place: str) -> None:
    present = set(files) - {MANIFEST}
    for names, word in ((set(made) - present, "missing"), (present - set(made), "not of a bundle with these options")):
        if names:
            raise CheckpointError(f"{place}: {', '.join(sorted(names)[:4])} is {word}.")
    for name, part in made.items():
        require_part(folder / name, part, f"{place}: {name}")


def _all_parts(
    name: str,
    circuits: Mapping[str, Contents],
    stack: NetworkContents | None,
    formats: Formats,
    facts: Mapping[str, Any],
    network: Mapping[str, Any],
) -> dict[str, Part]:
    """Return all files but the manifest, by relative name."""
    parts: dict[str, Part] = {}
    for key, contents in circuits.items():
        own = contents_parts(contents, formats, facts[key])
        parts |= {f"{key}/{file}" if key else file: part for file, part in own.items()}
    if stack is not None:
        rest = [one.golden.response[0] for one in circuits.values()]
        parts |= stack_parts(stack, rest, formats.simulator, network)
    return parts | {README: guide(name, circuits, formats, facts)}


def _parts(
    circuit: Any, x: npt.ArrayLike, mean: npt.ArrayLike | None, tau_s: float | None
) -> tuple[NetworkContents | None, dict[str, tuple[Circuit, Floats, Floats]]]:
    """Return each circuit in float64 and seconds, with its stimuli and its mean."""
    if isinstance(circuit, Network):
        if mean is not None:
            raise ConfigError(f"mean must be None for a network, whose layers have their own; got {shown(mean)}.")
        stack = stack_of(circuit, x, 1.0 if tau_s is None else positive(tau_s, "tau_s", "seconds"))
        own = zip(circuits_of(stack).items(), stack.layers, strict=True)
        return stack, {key: (one, drive, layer.mean) for (key, (one, drive)), layer in own}
    if not isinstance(circuit, Circuit):
        raise InputError(f"circuit must be a Circuit or a Network; got {type(circuit).__name__}. Use Circuit(R, tau).")
    wide = Circuit(circuit.R.astype(np.float64), circuit.tau if tau_s is None else positive(tau_s, "tau_s", "seconds"))
    centre = np.zeros(wide.size) if mean is None else real_array(mean, "mean").astype(np.float64)
    if finite(centre, "mean").shape != (wide.size,):
        raise InputError(f"mean must be of shape ({wide.size},), an entry per unit; got shape {centre.shape}.")
    return None, {"": (wide, np.atleast_2d(np.asarray(real_array(x, "x"), np.float64)), centre)}


def _fill(
    folder: Path,
    name: str,
    made: Mapping[str, Contents],
    stack: NetworkContents | None,
    formats: Formats,
    about: Mapping[str, Any],
) -> None:
    """Write all files into an empty folder, the manifest last."""
    facts = {key: contents.facts(formats) for key, contents in made.items()}
    network = {} if stack is None else stack_facts(stack, formats.simulator)
    for file, part in _all_parts(name, made, stack, formats, facts, network).items():
        (folder / file).parent.mkdir(exist_ok=True)
        write_part(folder / file, part)
    whole = about if stack is None else {**about, "network": network}
    write_json(folder / MANIFEST, manifest(name, read_files(folder), facts, whole))


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files without the one folder around them that other programs' zip files have."""
    tops = {name.partition("/")[0] for name in files}
    if MANIFEST in files or len(tops) != 1 or not all("/" in name for name in files):
        return files
    return {name.partition("/")[2]: data for name, data in files.items()}


def _plain_name(name: Any) -> str:
    try:
        return relative_name(name, "a bundle") if isinstance(name, str) and "/" not in name else relative_name("", "")
    except CheckpointError:
        raise InputError(f"name must be one plain name, without slashes or a leading dot; got {name!r}.") from None
