"""What says what lies in a bundle: the manifest with units and checksums, and the page on how to open each file."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import Any

from neurodecorr.errors import CheckpointError
from neurodecorr.export.bundle.contents import (
    EQUATION,
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
    Formats,
    dialect_file,
)
from neurodecorr.export.bundle.network import NETWORK, NETWORK_NIR, NETWORK_SPICE
from neurodecorr.export.bundle.reference_response import COURSE, REST, STIMULUS
from neurodecorr.export.nir.dialects import DIALECTS
from neurodecorr.io.json import read_json

MANIFEST, README = "manifest.json", "README.txt"
SCHEMA, VERSION = "neurodecorr-bundle", 2
UNITS = {
    "R, R_fixed": "1 (dimensionless)",
    "x, xbar, mean": "unit of the data",
    "tau, dt, times": "s",
    "G_plus, G_minus": "S",
    "min Re lambda": "1/tau",
}
WHAT = {
    WEIGHTS: "R, its mean, fixed point and conductances as arrays (numpy.load)",
    GOLDEN: "golden stimuli, settled responses with certified bounds, time course of the first (numpy.load)",
    TOPOLOGY: "every connection: pre, post, kind, weight, unit",
    MATRIX: "R as a table",
    FIXED: "R as whole numbers of a fixed-point format",
    PLUS: "conductances G+ in siemens",
    MINUS: "conductances G- in siemens",
    MEAN: "mean of each raw input",
    STIMULUS: "golden stimuli as a table",
    REST: "golden responses at rest as a table",
    COURSE: "golden time course of the first stimulus as a table",
    NIR: "NIR graph with the golden time course as NIRData (HDF5)",
    **{dialect_file(name): f"NIR graph with the numbers of {name}" for name in (*DIALECTS[1:], "nengo")},
    dialect_file("nengo", "py"): "script that runs the graph beside it in Nengo",
    NETWORK: "feedforward weights, golden inputs and responses of a network (numpy.load)",
    NETWORK_NIR: "NIR graph of a network whose activations are the identity (HDF5)",
    NETWORK_SPICE: "SPICE netlist of a network, driven by the first golden input",
    "W.csv": "feedforward weights as a table",
    "b.csv": "biases as a table",
    SPICE: "SPICE netlist, driven by the first golden stimulus",
    README: "how to open these files",
}


def manifest(
    name: str, files: Mapping[str, bytes], circuits: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the document for these files.

    Parameters
    ----------
    name : str
        Of the circuit or network.
    files : mapping of str to bytes
        Relative names and contents, the manifest not among them.
    circuits : mapping of str to dict
        Facts about each circuit by the folder of its files, "" for the top.
    about : mapping
        `provenance`, `options`, and facts about a network.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "name": name,
        "equation": EQUATION,
        "units": UNITS,
        "circuits": dict(circuits),
        **about,
        "files": {
            file: {"sha256": _checksum(data), "bytes": len(data), "what": WHAT.get(file.rpartition("/")[2], "")}
            for file, data in sorted(files.items())
        },
    }


def checked_manifest(data: bytes, place: str) -> dict[str, Any]:
    """Return the manifest in `data`.

    Raises
    ------
    CheckpointError
        If it is not one of this version.
    """
    found = read_json(data, f"{place}: {MANIFEST}")
    if (found.get("schema"), found.get("version")) != (SCHEMA, VERSION):
        raise CheckpointError(
            f"{place}: {MANIFEST} must have schema {SCHEMA!r}, version {VERSION}; got {found.get('schema')!r}, "
            f"version {found.get('version')!r}. It is no bundle, or an older or a newer neurodecorr wrote it."
        )
    if not all(isinstance(found.get(key), dict) and found[key] for key in ("files", "circuits")):
        raise CheckpointError(f"{place}: {MANIFEST} must list files and circuits; it does not.")
    return found


def require_checksums(document: Mapping[str, Any], files: Mapping[str, bytes], place: str) -> None:
    """Raise unless the files are those of the manifest, byte for byte.

    Raises
    ------
    CheckpointError
        With the names of what is missing, unknown or changed.
    """
    listed, present = set(document["files"]), set(files) - {MANIFEST}
    for names, word in ((listed - present, "missing"), (present - listed, "not in the manifest")):
        if names:
            raise CheckpointError(
                f"{place}: {', '.join(sorted(names)[:4])} is {word}. The bundle is not as it was written."
            )
    changed = [name for name in sorted(listed) if _entry(document, name) != (_checksum(files[name]), len(files[name]))]
    if changed:
        raise CheckpointError(
            f"{place}: {', '.join(changed[:4])} must have the checksum of the manifest; "
            f"{'it was' if len(changed) == 1 else 'they were'} changed after the export. Export again."
        )


def _entry(document: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    entry = document["files"][name]
    return (entry.get("sha256"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


TITLE = "Decorrelating circuit {name!r}, exported by neurodecorr"
LAW = """\
  tau dxbar/dt = x - R xbar        at rest  R xbar = x

R[i, j] acts from unit j (column, presynaptic) on unit i (row, postsynaptic); R[i, j] > 0 inhibits.
x is the raw input minus its mean (mean.csv). Times are in seconds, conductances in siemens, weights without unit."""
VERIFY = """\
Verify everything (checksums, all formats of the weights, the golden response):
  python -c "import neurodecorr as nd; print(nd.export.load_bundle('.').name)"
"""
WORDS = {
    "npz": "python: numpy.load({path!r})",
    "csv": "any spreadsheet; python: numpy.genfromtxt({path!r}, delimiter=',')[1:, 1:]",
    "topology": "any spreadsheet; python: pandas.read_csv({path!r}, comment='#')",
    "nir": "python: nir.read({path!r})    (pip install nir)",
    "nengo": "python {quoted}    (pip install nengo h5py)",
    "ngspice": "ngspice -b {quoted}    (apt install ngspice)",
    "gnucap": "gnucap -b {quoted}    (apt install gnucap)",
    "bundle": "python: neurodecorr.export.load_bundle({path!r})",
}


def opening(kind: str, path: object) -> str:
    """Return one line on how to open a file of a kind.

    Parameters
    ----------
    kind : {"npz", "csv", "topology", "nir", "nengo", "ngspice", "gnucap", "bundle"}
        Which.
    path : path-like
        The file.
    """
    return WORDS[kind].format(path=str(path), quoted=shlex.quote(str(path)))


def guide(name: str, circuits: Mapping[str, Contents], formats: Formats, facts: Mapping[str, Any]) -> str:
    """Return the text of the page.

    Parameters
    ----------
    name : str
        Of the circuit or network.
    circuits : mapping of str to Contents
        By folder.
    formats : Formats
        How they were exported.
    facts : mapping of str to dict
        What the manifest says of each.
    """
    title = TITLE.format(name=name)
    lines = [title, "=" * len(title), "", LAW, ""]
    for key, contents in circuits.items():
        lines += _described(f"{key}/" if key else "", contents, formats, facts[key])
    return "\n".join([*lines, VERIFY])


def _described(prefix: str, contents: Contents, formats: Formats, facts: Mapping[str, Any]) -> list[str]:
    fixed, pair, golden = contents.fixed, contents.pair, contents.golden
    chip = facts["weights"]["fixed"]
    told = (
        f"settles, response off by {chip['response_error']:.2g}" if chip["stable"] else "DOES NOT SETTLE: use more bits"
    )
    rows = {
        WEIGHTS: opening("npz", prefix + WEIGHTS),
        GOLDEN: opening("npz", prefix + GOLDEN),
        MATRIX: opening("csv", prefix + MATRIX) + ", and so the other tables",
        TOPOLOGY: opening("topology", prefix + TOPOLOGY),
        NIR: opening("nir", prefix + NIR),
        SPICE: opening(formats.simulator, prefix + SPICE),
    }
    return [
        f"{prefix or 'circuit'}: {contents.circuit.size} units, tau = {contents.circuit.tau:g} s, "
        f"slowest mode {facts['slowest_time_s']:g} s, fastest {facts['fastest_time_s']:g} s",
        f"  fixed point {fixed.name}, {fixed.bits} bits, step {fixed.step:g}: {told}",
        f"  conductances {pair.g_min:g} to {pair.g_max:g} S, {pair.scale:g} S per unit of weight, {pair.sides} sides",
        f"  golden: {len(golden.stimulus)} stimuli; time course to {golden.times[-1]:g} s; step dt = {golden.dt_s:g} s",
        *(f"  {file:<13} {how}" for file, how in rows.items()),
        "",
    ]
