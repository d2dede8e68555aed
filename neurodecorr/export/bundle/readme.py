"""The page that comes with a bundle: what lies in it, in which units, and how to open each file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from neurodecorr.export.bundle.contents import GOLDEN, MATRIX, NIR, SPICE, TOPOLOGY, WEIGHTS, Contents, Formats

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
