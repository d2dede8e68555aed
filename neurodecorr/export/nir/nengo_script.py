"""A script that runs a canonical NIR file in Nengo, which has no reader of its own."""

from __future__ import annotations

import os
from pathlib import Path

from neurodecorr._validation import checked_path, flag, positive
from neurodecorr.errors import InputError
from neurodecorr.export.nir.canonical import canonical_graph
from neurodecorr.export.nir.dialects import require_stable_step
from neurodecorr.export.nir.files import Subject, write_nir
from neurodecorr.io.atomic import write_text

SCRIPT = '''\
"""Runs {name} in Nengo. Needs: pip install nengo h5py

    python {script} [seconds]      prints the output under the input 1, 1, ...

or from Python: network, probe = build(x); see run. Every LI node is a passthrough node behind Lowpass(tau) synapses,
every Linear or Affine node one behind direct connections.
"""

import sys
from pathlib import Path

import h5py
import nengo
import numpy as np

FILE = Path(__file__).with_name("{name}")
DT_S = {dt!r}


def load(path=FILE):
    """Return the nodes of a NIR file, as dictionaries of arrays, and its edges."""
    with h5py.File(path, "r") as file:
        nodes = {{name: {{key: item[()] for key, item in node.items() if key != "metadata"}}
                 for name, node in file["node/nodes"].items()}}
        edges = [(pre.decode(), post.decode()) for pre, post in file["node/edges"][()]]
    return nodes, edges


def synapse(node):
    """Return the filter of a node with a state, and the gain of what enters it."""
    if node["type"] == b"I":
        return nengo.LinearFilter([1], [1, 0], analog=True), node["r"]
    if np.ptp(node["tau"]):
        raise ValueError("one time constant per node")
    return nengo.Lowpass(float(node["tau"][0])), node["r"]


def build(x, path=FILE):
    """Return a nengo.Network under the input x, constant or a function of time, and the probe of its output."""
    nodes, edges = load(path)
    made = {{}}
    with nengo.Network() as network:
        for name, node in nodes.items():
            kind = node["type"]
            if kind == b"Input":
                made[name] = nengo.Node(x)
            elif kind in (b"Linear", b"Affine"):
                made[name] = nengo.Node(size_in=len(node["weight"]))
            else:
                size = int(node["shape"][0]) if kind == b"Output" else len(node["r"])
                made[name] = nengo.Node(size_in=size)
            if kind == b"Affine":
                nengo.Connection(nengo.Node(node["bias"]), made[name], synapse=None)
            if kind == b"LI" and node["v_leak"].any():
                nengo.Connection(nengo.Node(node["v_leak"]), made[name], synapse=synapse(node)[0])
        for pre, post in edges:
            node = nodes[post]
            if node["type"] in (b"LI", b"I"):
                filtered, gain = synapse(node)
                nengo.Connection(made[pre], made[post], synapse=filtered, transform=gain)
            elif node["type"] in (b"Linear", b"Affine"):
                nengo.Connection(made[pre], made[post], synapse=None, transform=node["weight"])
            else:
                nengo.Connection(made[pre], made[post], synapse=None)
        output = next(name for name, node in nodes.items() if node["type"] == b"Output")
        probe = nengo.Probe(made[output], synapse=None)
    return network, probe


def run(x, seconds, path=FILE, dt_s=DT_S):
    """Return times in seconds and the output at these times, (steps, units)."""
    network, probe = build(x, path)
    with nengo.Simulator(network, dt=dt_s, progress_bar=False) as simulator:
        simulator.run(seconds)
        # What a probe sees at a step is the filters' output of the step before.
        return simulator.trange() - dt_s, np.array(simulator.data[probe])


if __name__ == "__main__":
    found = load()[0]
    size = next(int(node["shape"][0]) for node in found.values() if node["type"] == b"Input")
    times, output = run(np.ones(size), float(sys.argv[1]) if len(sys.argv) > 1 else {seconds!r})
    print(times[-1], *output[-1])
'''


def write_nengo_script(
    subject: Subject,
    path: str | os.PathLike[str],
    *,
    tau_s: float | None = None,
    dt_s: float = 1e-4,
    require_stable: bool = True,
) -> Path:
    """Write a canonical NIR file and, beside it, a script that runs it in Nengo.

    Parameters
    ----------
    subject : Circuit, TwoPopulationCircuit, Network or NetworkCircuit
        What to run; see `write_nir`.
    path : path-like
        The script, `*.py`; the graph goes to `*.nir` beside it.
    tau_s : float, optional
        Time constant τ in seconds; by default `tau` counts as seconds.
    dt_s : float, default 1e-4
        Step of Nengo in seconds.
    require_stable : bool, default True
        Whether an unstable circuit is an error.

    Returns
    -------
    Path
        The script. It needs nengo and h5py, and nothing of this package.

    Raises
    ------
    InputError
        If the path does not end in `.py`.
    StabilityError
        If the subject settles, but not in Nengo's steps of `dt_s`.
    """
    script = checked_path(path)
    if script.suffix != ".py" or not script.stem.isidentifier():
        raise InputError(f"the path of a script must be a plain name ending in .py; got {script.name!r}.")
    text = nengo_script(subject, script.name, tau_s=tau_s, dt_s=dt_s, require_stable=require_stable)
    write_nir(subject, script.with_suffix(".nir"), tau_s=tau_s, require_stable=require_stable)
    return write_text(script, text)


def nengo_script(
    subject: Subject, name: str, *, tau_s: float | None = None, dt_s: float = 1e-4, require_stable: bool = True
) -> str:
    """Return the text of the script of this name; see `write_nengo_script`."""
    dt = positive(dt_s, "dt_s", "seconds")
    # Nengo holds what comes in during a step.
    require_stable_step(canonical_graph(subject, tau_s, flag(require_stable, "require_stable")), dt)
    own = getattr(subject, "tau", 1.0) if tau_s is None else positive(tau_s, "tau_s", "seconds")
    graph = Path(name).with_suffix(".nir").name
    return SCRIPT.format(name=graph, script=name, dt=dt, seconds=10 * float(own))
