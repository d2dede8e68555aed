"""What a NIR graph does, from its nodes and edges alone: a linear system in state-space form, and its exact run.

Nothing here knows what a circuit is: only what LI, I, Linear, Affine, Scale, Input and Output mean.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import nir
import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import CheckpointError, ConfigError, InputError, StabilityError
from neurodecorr.export.nir.graph import graph_of, of_kind, sizes_of, sound_graph, sources_of
from neurodecorr.io.trees import read_tree

Signal = tuple[Floats, Floats, Floats]  # weights of the state, of the input, and a constant
LARGEST = 5_000
LONGEST_PATH = 200


@short_repr
@dataclass(frozen=True, eq=False)
class StateSpace:
    """A linear system.

    ::

        dz/dt = A z + B u + a,    y = C z + D u + c

    Parameters
    ----------
    A, B, drift : (N, N), (N, m) and (N,) arrays
        A, B and a, per second.
    C, D, offset : (k, N), (k, m) and (k,) arrays
        C, D and c.
    states : tuple of (str, int)
        Names and sizes of the nodes that have a state, in the order of z.
    """

    A: Floats
    B: Floats
    drift: Floats
    C: Floats
    D: Floats
    offset: Floats
    states: tuple[tuple[str, int], ...]

    def __repr__(self) -> str:
        return f"StateSpace(inputs={self.B.shape[1]}, states={len(self.A)}, outputs={len(self.C)})"

    def rest(self, x: npt.ArrayLike) -> Floats:
        """Return where the output rests under a constant input.

        ::

            y* = −C A⁻¹ (B x + a) + D x + c

        Parameters
        ----------
        x : (m,) or (samples, m) array
            Input.

        Returns
        -------
        (k,) or (samples, k) array
            Output at rest.

        Raises
        ------
        StabilityError
            If the system does not come to rest: max Re λ(A) ≥ 0.
        """
        X, single = _validation.sample_or_samples(x, "x", self.B.shape[1])
        growth = -margin(-self.A)
        if not growth < 0:
            raise StabilityError(f"the graph must have max Re λ(A) < 0 to come to rest; it is {growth:.3g} per second.")
        Z = -np.linalg.solve(self.A, (X @ self.B.T + self.drift).T).T
        Y = self._read(Z, X)
        return Y[0] if single else Y

    def respond(self, x: npt.ArrayLike, times_s: npt.ArrayLike) -> Floats:
        """Return the output over time under a constant input, from z = 0 at time 0; exact.

        ::

            z(t + h) = e^(A h) z(t) + ∫₀ʰ e^(A s) ds (B x + a)

        Parameters
        ----------
        x : (m,) or (samples, m) array
            Input.
        times_s : (frames,) array
            Times in seconds, ≥ 0, ascending.

        Returns
        -------
        (frames, k) or (samples, frames, k) array
            Output.
        """
        X, single = _validation.sample_or_samples(x, "x", self.B.shape[1])
        times = _validation.instants(times_s, "times_s", strictly=False)
        Z: Floats = np.zeros((len(X), len(self.A)))
        frames, before = [], 0.0
        known: dict[float, Floats] = {}
        for time in times:
            Z, before = self._moved(Z, X, float(f"{time - before:.12e}"), known), time
            frames.append(self._read(Z, X))
        Y = np.stack(frames, axis=1)
        return Y[0] if single else Y

    def run(self, X: npt.ArrayLike, dt_s: float) -> Floats:
        """Return the output at the end of each step, for an input that is held during each step; from z = 0.

        Parameters
        ----------
        X : (steps, m) array
            Input of each step.
        dt_s : float
            Length of a step in seconds.

        Returns
        -------
        (steps, k) array
            Output.
        """
        inputs, dt = _validation.samples(X, "X", self.B.shape[1]), _validation.positive(dt_s, "dt_s", "seconds")
        Z: Floats = np.zeros((1, len(self.A)))
        frames = []
        known: dict[float, Floats] = {}
        for x in inputs:
            Z = self._moved(Z, x[None], dt, known)
            frames.append(self._read(Z, x[None])[0])
        return np.array(frames)

    def propagator(self, h: float) -> Floats:
        """Return e^(A h) and its integrals over a time h, from one exponential of a larger matrix.

        ::

            (e^(A h), ∫₀ʰ e^(A s) ds B, ∫₀ʰ e^(A s) ds a),    (N, N + m + 1)

        References
        ----------
        Van Loan (1978), IEEE Transactions on Automatic Control 23, 395–404.
        """
        n, m = self.B.shape
        whole = np.zeros((n + m + 1, n + m + 1))
        whole[:n] = np.concatenate([self.A, self.B, self.drift[:, None]], axis=1) * h
        return np.asarray(scipy.linalg.expm(whole)[:n])

    def _moved(self, Z: Floats, X: Floats, h: float, known: dict[float, Floats]) -> Floats:
        """Return the states a time h later."""
        if h == 0:
            return Z
        if h not in known:
            known[h] = self.propagator(h)
        joined = np.concatenate([Z, X, np.ones((len(X), 1))], axis=1)
        return np.asarray(joined @ known[h].T)

    def _read(self, Z: Floats, X: Floats) -> Floats:
        return np.asarray(Z @ self.C.T + X @ self.D.T + self.offset)


def state_space(graph: nir.NIRGraph | str | os.PathLike[str]) -> StateSpace:
    """Read a canonical NIR file as a linear system, by the meaning of its nodes alone.

    Works for every file of Input, Output, LI, I, Linear, Affine and Scale nodes, whoever wrote it.

    Parameters
    ----------
    graph : nir.NIRGraph or path-like
        A graph of the nir package, or a NIR file. Nothing in the file is trusted.

    Returns
    -------
    StateSpace
        A, B, C, D and the constants.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, or holds other nodes.
    ConfigError
        If the graph is in the dialect of a simulator, whose numbers are steps and not seconds.
    InputError
        If nodes without a state feed each other in a circle, or there is no input, output or state.

    Examples
    --------
    >>> from neurodecorr.circuit import Circuit
    >>> from neurodecorr.export.nir.files import write_nir
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_nir(Circuit([[2.0, 1.0], [0.5, 2.0]], tau=0.5), pathlib.Path(folder) / "circuit.nir")
    ...     space = state_space(path)
    >>> space.A.tolist()
    [[-4.0, -2.0], [-1.0, -4.0]]
    >>> space.rest([3.0, 2.5]).tolist()
    [1.0, 1.0]
    """
    if isinstance(graph, nir.NIRGraph):
        parts = graph.to_dict()
        graph = sound_graph(parts["nodes"], parts["edges"], parts["metadata"])
    else:
        graph = graph_of(read_tree(graph, ("node",)), os.fspath(graph))
    dialect = str(graph.metadata.get("dialect", "canonical"))
    if dialect != "canonical":
        raise ConfigError(f"the graph must be canonical, in seconds; it is in the dialect {dialect!r}. Write it anew.")
    return state_space_of(graph)


def state_space_of(graph: nir.NIRGraph) -> StateSpace:
    """Return the system of a graph in seconds; see `state_space`."""
    states = of_kind(graph, "LI", "I")
    inputs, outputs = of_kind(graph, "Input"), of_kind(graph, "Output")
    if not states or len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"the graph must have nodes with a state, one input and one output; got {len(states)}, {len(inputs)} and "
            f"{len(outputs)}."
        )
    sizes = [sizes_of(graph.nodes[name])[1] for name in states]
    m = sizes_of(graph.nodes[inputs[0]])[1]
    if sum(sizes) + m > LARGEST:
        raise CheckpointError(f"the graph must have at most {LARGEST} units; got {sum(sizes) + m}.")
    known = _starts(states, sizes, inputs[0], m)
    rows = [_velocity(graph, name, _gathered(graph, name, known, ()), known) for name in states]
    A, B, drift = (np.concatenate(part) for part in zip(*rows, strict=True))
    C, D, offset = _gathered(graph, outputs[0], known, ())
    return StateSpace(A, B, drift, C, D, offset, tuple(zip(states, sizes, strict=True)))


def _starts(states: list[str], sizes: list[int], source: str, m: int) -> dict[str, Signal]:
    """Return the signals that are known from the start: every state, and the input."""
    known: dict[str, Signal] = {}
    total, first = sum(sizes), 0
    for name, size in zip(states, sizes, strict=True):
        pick = np.zeros((size, total))
        pick[:, first : first + size] = np.eye(size)
        known[name] = (pick, np.zeros((size, m)), np.zeros(size))
        first += size
    known[source] = (np.zeros((m, total)), np.eye(m), np.zeros(m))
    return known


def _velocity(graph: nir.NIRGraph, name: str, drive: Signal, known: dict[str, Signal]) -> Signal:
    node, (state, source, constant) = graph.nodes[name], drive
    r = np.asarray(node.r, np.float64)
    if isinstance(node, nir.I):
        return r[:, None] * state, r[:, None] * source, r * constant
    tau = np.asarray(node.tau, np.float64)
    own = known[name][0]
    leak = np.asarray(node.v_leak, np.float64)
    return (r[:, None] * state - own) / tau[:, None], r[:, None] * source / tau[:, None], (r * constant + leak) / tau


def _gathered(graph: nir.NIRGraph, name: str, known: dict[str, Signal], path: tuple[str, ...]) -> Signal:
    """Return the sum of all that comes in at a node."""
    if name in path:
        circle = " → ".join(reversed([*path[path.index(name) :], name]))
        raise InputError(f"nodes without a state must not feed each other in a circle; got {circle}.")
    if len(path) > LONGEST_PATH:
        raise InputError(f"a path through nodes without a state must have at most {LONGEST_PATH} of them.")
    size = sizes_of(graph.nodes[name])[0]
    total, m = next(iter(known.values()))[0].shape[1], next(iter(known.values()))[1].shape[1]
    state, source, constant = np.zeros((size, total)), np.zeros((size, m)), np.zeros(size)
    for pre in sources_of(graph, name):
        if pre not in known:
            known[pre] = _passed(graph, pre, _gathered(graph, pre, known, (*path, name)))
        state, source, constant = state + known[pre][0], source + known[pre][1], constant + known[pre][2]
    return state, source, constant


def _passed(graph: nir.NIRGraph, name: str, signal: Signal) -> Signal:
    """Return what a node without a state makes of what comes in."""
    node = graph.nodes[name]
    state, source, constant = signal
    if isinstance(node, nir.Scale):
        scale = np.asarray(node.scale, np.float64)
        return scale[:, None] * state, scale[:, None] * source, scale * constant
    if isinstance(node, nir.Linear | nir.Affine):
        W, bias = np.asarray(node.weight, np.float64), np.asarray(getattr(node, "bias", 0.0), np.float64)
        return W @ state, W @ source, W @ constant + bias
    return signal
