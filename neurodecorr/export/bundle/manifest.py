"""The manifest of a bundle: what each file is, with its checksum; the equation, units, and where all came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from neurodecorr.errors import CheckpointError
from neurodecorr.export.bundle import contents
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
    contents.WEIGHTS: "R, its mean, fixed point and conductances as arrays (numpy.load)",
    contents.GOLDEN: "golden stimuli, settled responses with certified bounds, time course of the first (numpy.load)",
    contents.TOPOLOGY: "every connection: pre, post, kind, weight, unit",
    contents.MATRIX: "R as a table",
    contents.FIXED: "R as whole numbers of a fixed-point format",
    contents.PLUS: "conductances G+ in siemens",
    contents.MINUS: "conductances G- in siemens",
    contents.MEAN: "mean of each raw input",
    STIMULUS: "golden stimuli as a table",
    REST: "golden responses at rest as a table",
    COURSE: "golden time course of the first stimulus as a table",
    contents.NIR: "NIR graph with the golden time course as NIRData (HDF5)",
    **{contents.dialect_file(name): f"NIR graph with the numbers of {name}" for name in (*DIALECTS[1:], "nengo")},
    contents.dialect_file("nengo", "py"): "script that runs the graph beside it in Nengo",
    NETWORK: "feedforward weights, golden inputs and responses of a network (numpy.load)",
    NETWORK_NIR: "NIR graph of a network whose activations are the identity (HDF5)",
    NETWORK_SPICE: "SPICE netlist of a network, driven by the first golden input",
    "W.csv": "feedforward weights as a table",
    "b.csv": "biases as a table",
    contents.SPICE: "SPICE netlist, driven by the first golden stimulus",
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
        "equation": contents.EQUATION,
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
