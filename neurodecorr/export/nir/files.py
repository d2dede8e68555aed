"""Circuits and networks to NIR files, alone or beside the traces of their run, and back.

What is read must make the same graph again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

import neurodecorr
from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, TwoPopulationCircuit, stability
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.export.nir.canonical import INPUT, OUTPUT, canonical_graph, chained, ends, layer_nodes
from neurodecorr.export.nir.data import Observed, data_branch
from neurodecorr.export.nir.dialects import graph_in
from neurodecorr.export.nir.graph import PARAMETERS, branch_of, graph_of, of_kind
from neurodecorr.io.trees import Branch, graft, read_tree, write_tree
from neurodecorr.network import Network, NetworkCircuit
from neurodecorr.network.activations import ACTIVATIONS
from neurodecorr.network.ode import LayerCircuit

Subject = Circuit | TwoPopulationCircuit | Network | NetworkCircuit
# What a graph can be read as: a network comes back as its circuit.
Readable = Circuit | TwoPopulationCircuit | NetworkCircuit
Metadata = Mapping[str, str | int | float]
SCHEMA = "neurodecorr-nir"
SCHEMA_VERSION = 1
MAX_BYTES = 2**30


def write_nir(
    subject: Subject,
    path: str | os.PathLike[str],
    dialect: str = "canonical",
    *,
    tau_s: float | None = None,
    dt_s: float | None = None,
    discretisation: str = "held",
    data: Observed | None = None,
    metadata: Metadata | None = None,
    require_stable: bool = True,
) -> Path:
    """Write a circuit, or a network of linear layers, to a NIR file, atomically.

    ::

        τ v̇ = −v + x + (I − R) v:    LI(τ, r = 1, v_leak = 0) with a recurrent edge through Linear(I − R)

    Rows of R are postsynaptic, times are in seconds; the file says so. It holds what `nir.write` makes of the graph,
    not compressed.

    Parameters
    ----------
    subject : Circuit, TwoPopulationCircuit, Network or NetworkCircuit
        What to write. All activations of a network must be the identity, since NIR has no rate non-linearity.
    path : path-like
        The file, by custom `*.nir`.
    dialect : {"canonical", "sinabs", "rockpool"}
        Whom the numbers are for: everybody, or a simulator that runs them unchanged.
    tau_s : float, optional
        Time constant τ in seconds; by default `tau` of the circuit counts as seconds. Others keep their ratio to it.
    dt_s : float, optional
        Step of the simulator in seconds; for its dialect only.
    discretisation : {"held", "exact"}
        Whether a dialect holds the feedback during a step, which keeps I − R visible in the weights and is exact at
        rest, or has the whole propagator of a step as weights, which is exact at every step.
    data : mapping of node to mapping of name to nir.TimeGriddedData, optional
        Activity to expect, such as `{"xbar": {"v": time_gridded(trajectory)}}`; stored as NIRData in the same file.
    metadata : mapping of str to str or number, optional
        What else to say: rule, rate, seed.
    require_stable : bool, default True
        Whether an unstable circuit is an error.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    ConfigError
        If a layer is not linear, or an option does not fit the dialect.
    StabilityError
        If the circuit does not settle.
    InputError
        If the subject is none of these, or the activity does not fit the graph.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> circuit = Circuit([[1.1, 0.3], [-0.2, 0.7]], tau=0.02)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_nir(circuit, Path(folder) / "circuit.nir")
    ...     again = read_nir(path)
    >>> bool((again.R == circuit.R).all()), again.tau
    (True, 0.02)
    """
    parts = nir_parts(
        subject,
        dialect,
        tau_s=tau_s,
        dt_s=dt_s,
        discretisation=discretisation,
        data=data,
        metadata=metadata,
        require_stable=require_stable,
    )
    return write_tree(path, parts)


def nir_parts(
    subject: Subject,
    dialect: str = "canonical",
    *,
    tau_s: float | None = None,
    dt_s: float | None = None,
    discretisation: str = "held",
    data: Observed | None = None,
    metadata: Metadata | None = None,
    require_stable: bool = True,
) -> Branch:
    """Return what `write_nir` writes, for `Recorder(parts=…)`: then graph and traces stand in one file from the start.

    Parameters
    ----------
    subject, dialect, tau_s, dt_s, discretisation, data, metadata, require_stable
        See `write_nir`.

    Returns
    -------
    Branch
        `version`, `node`, and with data `nodes`.
    """
    own = canonical_graph(subject, tau_s, _validation.flag(require_stable, "require_stable"))
    more = {} if metadata is None else _validation.mapping(metadata, "metadata")
    graph = graph_in(own, dialect, dt_s, discretisation)
    said = {"dialect": dialect, **({} if dt_s is None else {"dt_s": dt_s, "discretisation": discretisation})}
    graph.metadata = _metadata(graph.metadata, said, _facts(subject), more)
    tree = branch_of(graph)
    if data is None:
        return tree
    activity = data_branch(
        {_full_name(name, graph): found for name, found in _validation.mapping(data, "data").items()}, graph
    )
    return Branch({**tree.parts, **activity.parts}, activity.attributes)


def add_nir(path: str | os.PathLike[str], subject: Subject) -> Path:
    """Add a canonical graph to a finished trace file, atomically.

    The file then is a NIR graph and a trace file at once: nir, h5py, xarray and netCDF tools open it. With options, or
    activity to expect: `io.trees.graft(path, nir_parts(subject, …))`.

    Parameters
    ----------
    path : path-like
        A file that a `Recorder` closed.
    subject : Circuit, TwoPopulationCircuit, Network or NetworkCircuit
        See `write_nir`.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, still recorded, or has a graph already; it is then unchanged.
    """
    return graft(path, nir_parts(subject))


def write_nir_layers(
    network: Network | NetworkCircuit,
    folder: str | os.PathLike[str],
    *,
    tau_s: float | None = None,
    require_stable: bool = True,
) -> tuple[Path, ...]:
    """Write one file per layer of a network, for activations that NIR cannot express.

    ::

        τ dx̄/dt = A (x − μ) − B x̄,    output W x̄ + b

    What lies between two files, τ' dy/dt = −y + φ(W x̄ + b), is named in the metadata: `activation`, `tau_units_s`.

    Parameters
    ----------
    network : Network or NetworkCircuit
        Dense layers.
    folder : path-like
        Where `layer0.nir`, `layer1.nir`, … go.
    tau_s : float, optional
        Time constant τ in seconds; by default `tau` counts as seconds.
    require_stable : bool, default True
        Whether an unstable layer is an error.

    Returns
    -------
    tuple of Path
        The files.
    """
    place, require_stable = (
        _validation.checked_path(folder, "folder"),
        _validation.flag(require_stable, "require_stable"),
    )
    circuit = network.as_circuit() if isinstance(network, Network) else network
    if not isinstance(circuit, NetworkCircuit):
        raise ConfigError(f"write_nir_layers takes a network; got {type(network).__name__}. Use write_nir.")
    tau = circuit.tau if tau_s is None else _validation.positive(tau_s, "tau_s", "seconds")
    written = []
    for index, layer in enumerate(circuit.layers):
        own, chains, kept = layer_nodes(circuit, index, (INPUT, OUTPUT), tau, require_stable)
        first, last = ends(layer.W.shape[1], len(layer.W))
        said = {
            "subject": "layer",
            "layer": index,
            "layers": len(circuit.layers),
            "equation": "tau dxbar/dt = A (x - mu) - B xbar; output h = W xbar + b",
            "activation": layer.activation.name,
            "tau_s": tau,
            "tau_units_s": tau * (circuit.tau_units / circuit.tau),
            "dialect": "canonical",
        }
        graph = chained(first | own | last, chains, _metadata(kept, said, {}, {}))
        written.append(write_tree(place / f"layer{index}.nir", branch_of(graph)))
    return tuple(written)


def read_nir(
    path: str | os.PathLike[str], *, require_stable: bool = True, max_bytes: int = MAX_BYTES
) -> Circuit | TwoPopulationCircuit | NetworkCircuit:
    """Read a circuit or network from a NIR file, trusting nothing in it.

    Parameters
    ----------
    path : path-like
        A file of `write_nir`, to the bit; or anybody's file of one LI node with a recurrent Linear one.
    require_stable : bool, default True
        Whether an unstable circuit is an error.
    max_bytes : int, default 1 GiB
        The most the graph may take.

    Returns
    -------
    Circuit, TwoPopulationCircuit or NetworkCircuit
        With τ in seconds.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, its graph is no such circuit, or the numbers of a dialect were changed.
    StabilityError
        If the circuit does not settle.
    """
    require_stable = _validation.flag(require_stable, "require_stable")
    graph = read_nir_graph(path, max_bytes=max_bytes)
    found = subject_of(graph, os.fspath(path))
    canonical_graph(found, None, require_stable)
    return found


def read_nir_graph(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read the graph of a NIR file as it stands, trusting nothing in it.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int, default 1 GiB
        The most the graph may take.

    Returns
    -------
    nir.NIRGraph
        Nodes, edges and metadata.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, or is no NIR file of linear nodes.
    """
    return graph_of(read_tree(path, ("node",), max_bytes=max_bytes), os.fspath(path))


def _metadata(
    arrays: Mapping[str, Any], said: Mapping[str, Any], facts: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    kept = dict(arrays)
    if "R" in kept and said["dialect"] == "canonical":
        # Off its diagonal, R stands in the weights to the bit.
        kept = {("R_diagonal" if name == "R" else name): value for name, value in kept.items()}
        kept["R_diagonal"] = np.diag(kept["R_diagonal"]).copy()
    own = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "neurodecorr": neurodecorr.__version__,
        "time_unit": "s",
        "weights": "rows postsynaptic, columns presynaptic",
        **kept,
        **said,
        **facts,
    }
    for name, value in more.items():
        if not isinstance(name, str) or name in own or not name.isidentifier():
            raise ConfigError(f"metadata must have plain names that are not taken; got {name!r}.")
        own[name] = value if isinstance(value, str) else _validation.number(value, f"metadata[{name!r}]")
    return own


def _facts(subject: Subject) -> dict[str, float]:
    if not isinstance(subject, Circuit | TwoPopulationCircuit):
        return {}
    found = stability(subject)
    return {"min_re_lambda": found.margin, "condition": found.condition}


def _full_name(name: str, graph: nir.NIRGraph) -> str:
    """Return the name of a node as the graph has it: `01_xbar` for `xbar`."""
    short = {full.partition("_")[2]: full for full in graph.nodes}
    return name if name in graph.nodes else short.get(name, name)


# Relative to the largest number of a node. Dialects are in single precision, and the exponential of a matrix may differ
# in the last digits between machines; of canonical graphs 1 − (1 − r) and sums are rounded.
CLOSE, EXACT = 1e-5, 1e-9
LAYERS = 1000


def subject_of(graph: nir.NIRGraph, place: str) -> Readable:
    """Return the circuit or network of a graph read from the file `place`.

    Its numbers come from the nodes, or from the metadata of a dialect; the graph that `write_nir` makes of them must be
    the one that was read.

    Raises
    ------
    CheckpointError
        If the graph is none of those that `write_nir` writes.
    """
    said, dialect = graph.metadata, str(graph.metadata.get("dialect", "canonical"))
    try:
        if dialect != "canonical":
            found, names = _kept(said, dialect), {name.partition("_")[2]: name for name in graph.nodes}
        elif said.get("subject") == "NetworkCircuit":
            found, names = _network(graph)
        else:
            found, names = _pair(graph) if of_kind(graph, "I") else _circuit(graph)
        canonical = canonical_graph(found, None, False)
        own = graph_in(canonical, dialect, said.get("dt_s"), str(said.get("discretisation", "held")))
        _require_same(own, graph, names, EXACT if dialect == "canonical" else CLOSE)
    except (InputError, ConfigError, CheckpointError) as error:
        raise CheckpointError(f"{place}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(
            f"{place} must hold a graph that write_nir makes: LI with a recurrent Linear, a pair of populations, or a "
            "network of linear layers. Use state_space for other linear graphs."
        ) from None
    return found


def _circuit(graph: nir.NIRGraph) -> tuple[Readable, dict[str, str]]:
    """Read Input → LI → Output with LI → Linear → LI, and say which node is which."""
    (unit,), (lateral,) = of_kind(graph, "LI"), of_kind(graph, "Linear")
    R = _restored(graph.nodes[lateral].weight, graph.metadata.get("R_diagonal"))
    return Circuit(R, float(graph.nodes[unit].tau[0])), {**_ends(graph), "xbar": unit, "lateral": lateral}


def _pair(graph: nir.NIRGraph) -> tuple[Readable, dict[str, str]]:
    """Read Input → LI → Linear → I → Output with I → Linear → LI."""
    (unit,), (error,), (one, other) = of_kind(graph, "I"), of_kind(graph, "LI"), of_kind(graph, "Linear")
    back, lateral = (one, other) if (error, one) in graph.edges else (other, one)
    rate, kept = float(graph.nodes[unit].r[0]), graph.metadata.get("tau_s")
    if rate <= 0:
        raise InputError(f"'r' of {unit!r} must be > 0; got {rate}.")
    tau = kept if isinstance(kept, float) and kept > 0 and 1 / kept == rate else 1 / rate
    found = TwoPopulationCircuit(-graph.nodes[lateral].weight, tau, float(graph.nodes[error].tau[0]))
    return found, {**_ends(graph), "error": error, "back": back, "xbar": unit, "lateral": lateral}


def _network(graph: nir.NIRGraph) -> tuple[Readable, dict[str, str]]:
    count, layers = graph.metadata["layers"], []
    if not isinstance(count, int) or not 1 <= count <= LAYERS:
        raise InputError(f"'layers' in the metadata must be a number from 1 to {LAYERS}; got {count!r}.")
    names = {full.partition("_")[2]: full for full in graph.nodes}
    nodes = {short: graph.nodes[full] for short, full in names.items()}
    for name in (f"layer{index}" for index in range(count)):
        feed, lateral, weights = nodes.get(f"{name}_feed"), nodes.get(f"{name}_lateral"), nodes[f"{name}_weights"]
        mean = graph.metadata[f"{name}_mean"]
        if mean.shape != nodes[f"{name}_xbar"].tau.shape or not np.isfinite(mean).all():
            raise InputError(f"the mean of each layer must be in the metadata; that of {name} has shape {mean.shape}.")
        B = None if lateral is None else _restored(lateral.weight, graph.metadata.get(f"{name}_lateral_diagonal"))
        A = None if feed is None else feed.weight
        layers.append(LayerCircuit(A, B, mean, weights.weight, weights.bias, ACTIVATIONS["identity"]))
    taus = (float(nodes[f"layer0_{part}"].tau[0]) for part in ("xbar", "units"))
    return NetworkCircuit(tuple(layers), *taus), names


def _kept(said: Mapping[str, Any], dialect: str) -> Readable:
    """Return the circuit whose R stands in the metadata of a dialect."""
    R: Any = said.get("R")
    if not isinstance(R, np.ndarray) or said.get("subject") not in ("Circuit", "TwoPopulationCircuit"):
        raise InputError(f"it is in the dialect {dialect!r}, without its R. Read the canonical file instead.")
    if said["subject"] == "Circuit":
        return Circuit(R, said["tau_s"])
    return TwoPopulationCircuit(R, said["tau_s"], said["tau_error_s"])


def _ends(graph: nir.NIRGraph) -> dict[str, str]:
    (source,), (sink,) = of_kind(graph, "Input"), of_kind(graph, "Output")
    return {INPUT: source, OUTPUT: sink}


def _restored(W: Floats, diagonal: Any) -> Floats:
    """Return R of the weights I − R: to the bit if the diagonal that was kept is theirs."""
    if W.shape[0] != W.shape[1]:
        raise InputError(f"the lateral weights must be square; got {W.shape}.")
    R, own = -W, np.diag(W)
    kept = isinstance(diagonal, np.ndarray) and diagonal.shape == own.shape and diagonal.dtype == own.dtype
    exact = kept and np.array_equal(1 - diagonal, own)
    np.fill_diagonal(R, diagonal if exact else 1 - own)
    return R


def _require_same(own: nir.NIRGraph, graph: nir.NIRGraph, names: Mapping[str, str], close: float) -> None:
    """Raise unless a graph is the one made anew, whose nodes have these names in it."""
    called = {full: names[full.partition("_")[2]] for full in own.nodes}
    edges = sorted((called[pre], called[post]) for pre, post in own.edges)
    if set(called.values()) != set(graph.nodes) or edges != sorted(graph.edges):
        raise ValueError
    for full, node in own.nodes.items():
        name, kind = called[full], type(node)
        found = graph.nodes[name]
        if type(found) is not kind:
            raise ValueError
        for key in PARAMETERS[kind.__name__]:
            wanted, got = (np.asarray(getattr(one, key, one.input_type["input"])) for one in (node, found))
            scale = close * np.abs(wanted).max(initial=0.0)
            if wanted.shape != got.shape or not np.allclose(wanted, got, rtol=close, atol=scale):
                raise InputError(
                    f"{key!r} of {name!r} must be what write_nir makes of the circuit; it is not. Use state_space, "
                    "which takes any, or write the file anew."
                )
