"""A NIR graph: nodes with parameters, the edges between them, and what is said of them.

::

    LI      τ v̇ = (v_leak − v) + r I        I      v̇ = r I
    Linear  y = W x                          Affine y = W x + b        Scale  y = s ∘ x

A node's input is the sum over its incoming edges. Rows of W are postsynaptic. Times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.trees import Branch

PARAMETERS = {
    "Input": ("shape",),
    "Output": ("shape",),
    "LI": ("tau", "r", "v_leak"),
    "I": ("r",),
    "Linear": ("weight",),
    "Affine": ("weight", "bias"),
    "Scale": ("scale",),
}
# The release whose layout is written; 1.0.4 reads it, too.
NIR_VERSION = "1.0.8"


@short_repr
@dataclass(frozen=True, eq=False)
class Node:
    """One node of a graph.

    Parameters
    ----------
    kind : {"Input", "Output", "LI", "I", "Linear", "Affine", "Scale"}
        What it computes.
    parameters : mapping of str to array
        By the names of NIR. Floats stay what they are; whole numbers and half precision become float64, since −W would
        wrap in unsigned ones.

    Raises
    ------
    InputError
        If one does not hold real numbers, or is not of this kind.
    ConfigError
        If the kind is none of these.
    """

    kind: str
    parameters: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        wanted = PARAMETERS[_validation.choice(self.kind, "kind", PARAMETERS)]
        if set(_validation.mapping(self.parameters, "parameters")) != set(wanted):
            got = ", ".join(map(repr, self.parameters))
            raise InputError(f"a node {self.kind!r} must have the parameters {', '.join(wanted)}; got {got or 'none'}.")
        wide = {
            name: _validation.whole_numbers(value, name)
            if name == "shape"
            else _validation.real_array(value, repr(name))
            for name, value in self.parameters.items()
        }
        object.__setattr__(self, "parameters", wide)

    def __repr__(self) -> str:
        shapes = (f"{name} {np.shape(value)}" for name, value in self.parameters.items())
        return f"Node({self.kind!r}, {', '.join(shapes)})"

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.parameters[name]

    @property
    def sizes(self) -> tuple[int, int]:
        """Lengths of what goes in and of what comes out."""
        if self.kind in ("Linear", "Affine"):
            rows, columns = self["weight"].shape
            return columns, rows
        if self.kind in ("Input", "Output"):
            length = math.prod(int(one) for one in self["shape"])
            return length, length
        length = len(self[PARAMETERS[self.kind][0]])
        return length, length


@short_repr
@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes, edges and metadata.

    Parameters
    ----------
    nodes : mapping of str to Node
        By name.
    edges : tuple of (str, str)
        From the first to the second.
    metadata : mapping of str to str, number or array, optional
        Units, conventions, where it came from.

    Raises
    ------
    InputError
        If a name cannot be used, a parameter has a wrong shape, or an edge joins nodes that do not fit.
    """

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, node in _validation.mapping(self.nodes, "nodes").items():
            _check_name(name)
            _validation.instance(node, Node, f"node {name!r}")
            _check_node(name, node)
        for edge in _validation.sequence(self.edges, "edges", "a sequence of pairs of names"):
            _check_edge(self.nodes, edge)
        for name, value in _validation.mapping(self.metadata, "metadata").items():
            kinds = (str, int, float, np.ndarray, np.generic)
            _validation.instance(value, kinds, f"metadata[{name!r}]", "a text, a number or an array")

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name}: {node.kind}" for name, node in self.nodes.items())
        return f"Graph({kinds}; {len(self.edges)} edges)"

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the nodes of these kinds, in their order."""
        return [name for name, node in self.nodes.items() if node.kind in kinds]

    def sources(self, name: str) -> Iterator[str]:
        """Yield the names of the nodes whose edges lead to `name`."""
        return (pre for pre, post in self.edges if post == name)


def branch_of(graph: Graph) -> Branch:
    """Return a graph as the tree that NIR files hold: `version` and `node`."""
    nodes = {
        name: Branch({"type": node.kind, **{key: np.asarray(value) for key, value in node.parameters.items()}})
        for name, node in graph.nodes.items()
    }
    metadata = {name: value if isinstance(value, str) else np.asarray(value) for name, value in graph.metadata.items()}
    edges = np.array(graph.edges, dtype=str).reshape(-1, 2)
    root = {"type": "NIRGraph", "nodes": Branch(nodes), "edges": edges}
    return Branch(
        {"version": NIR_VERSION, "node": Branch({**root, **({"metadata": Branch(metadata)} if metadata else {})})}
    )


def graph_of(tree: Branch, place: str) -> Graph:
    """Return the graph that a tree read from the file `place` holds.

    Raises
    ------
    CheckpointError
        If it is no NIR graph, nests graphs, or has nodes other than those above.
    """
    root = tree.parts.get("node")
    if not isinstance(root, Branch) or root.parts.get("type") != "NIRGraph":
        raise CheckpointError(f"{place} must hold a NIR graph under 'node'. It is no NIR file.")
    nodes, edges = root.parts.get("nodes"), root.parts.get("edges")
    if not isinstance(nodes, Branch) or not isinstance(edges, np.ndarray) or edges.dtype.kind != "U":
        raise CheckpointError(f"{place}: the graph must hold 'nodes' and 'edges' of names. It is damaged.")
    if edges.size and (edges.ndim != 2 or edges.shape[1] != 2):
        raise CheckpointError(f"{place}: 'edges' must be pairs of names; got the shape {edges.shape}.")
    metadata = root.parts.get("metadata", Branch({}))
    try:
        return Graph(
            {name: _node(part, f"{place}: node {name!r}") for name, part in nodes.parts.items()},
            tuple((str(pre), str(post)) for pre, post in edges.reshape(-1, 2)),
            {name: _plain(value, name) for name, value in metadata.parts.items()},
        )
    except InputError as error:
        raise CheckpointError(f"{place}: {error}") from None


def _node(part: Any, place: str) -> Node:
    kind = part.parts.get("type") if isinstance(part, Branch) else None
    if kind not in PARAMETERS:
        hint = " Nested graphs are not read." if kind == "NIRGraph" else ""
        raise CheckpointError(f"{place} must be one of {', '.join(PARAMETERS)}, which are linear; got {kind!r}.{hint}")
    missing = [name for name in PARAMETERS[kind] if not isinstance(part.parts.get(name), np.ndarray)]
    if missing:
        raise CheckpointError(f"{place} must have the parameter {missing[0]!r}, an array.")
    return Node(kind, {name: part.parts[name] for name in PARAMETERS[kind]})


def _plain(value: Any, name: str) -> Any:
    """Return what metadata say: a text, a number, or an array in floats."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return value
    return value.item() if value.ndim == 0 else _validation.real_array(value, f"{name!r} of the metadata")


def _check_name(name: str) -> None:
    # A dot would be part of a path in torch, a slash in HDF5.
    if not name.isprintable() or not name or set(name) & set("./\\") or len(name) > 200:
        raise InputError(f"the name of a node must be printable text without dots and slashes; got {name!r}.")


def _check_node(name: str, node: Node) -> None:
    shapes = {key: np.shape(value) for key, value in node.parameters.items()}
    for key, value in node.parameters.items():
        if np.asarray(value).dtype.kind not in "fiu":
            raise InputError(f"{key!r} of node {name!r} must hold real numbers; got {np.asarray(value).dtype}.")
        if not np.isfinite(value).all():
            raise InputError(f"{key!r} of node {name!r} must be finite, without NaN or inf.")
    if node.kind in ("Linear", "Affine"):
        fits = len(shapes["weight"]) == 2 and shapes.get("bias", shapes["weight"][:1]) == shapes["weight"][:1]
    else:
        fits = len(set(shapes.values())) == 1 and all(len(shape) == 1 for shape in shapes.values())
    if not fits or (node.kind in ("Input", "Output") and (np.asarray(node["shape"]) < 1).any()):
        raise InputError(f"the parameters of node {name!r} ({node.kind}) must fit together; got the shapes {shapes}.")
    if node.kind == "LI" and not (np.asarray(node["tau"]) > 0).all():
        raise InputError(f"'tau' of node {name!r} must be > 0 (seconds).")


def _check_edge(nodes: Mapping[str, Node], edge: tuple[str, str]) -> None:
    if not isinstance(edge, tuple | list) or [type(name) for name in edge] != [str, str]:
        raise InputError(f"an edge must be a pair of names of nodes; got {edge!r:.100}.")
    pre, post = edge
    for name in edge:
        if name not in nodes:
            raise InputError(f"the edge {pre!r} → {post!r} must join nodes of the graph; there is no {name!r}.")
    out, into = nodes[pre].sizes[1], nodes[post].sizes[0]
    if out != into:
        raise InputError(f"the edge {pre!r} → {post!r} must join equal sizes; got {out} and {into}.")
