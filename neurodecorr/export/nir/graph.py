"""Graphs of the nir package: those of linear nodes, checked before anything is made of them.

::

    LI      τ v̇ = (v_leak − v) + r I        I      v̇ = r I
    Linear  y = W x                          Affine y = W x + b        Scale  y = s ∘ x

A node's input is the sum over its incoming edges. Rows of W are postsynaptic. Times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np

from neurodecorr import _validation
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


def of_kind(graph: nir.NIRGraph, *kinds: str) -> list[str]:
    """Return the names of the nodes of these kinds, in their order."""
    return [name for name, node in graph.nodes.items() if type(node).__name__ in kinds]


def sources_of(graph: nir.NIRGraph, name: str) -> Iterator[str]:
    """Yield the names of the nodes whose edges lead to `name`."""
    return (pre for pre, post in graph.edges if post == name)


def sizes_of(node: nir.NIRNode) -> tuple[int, int]:
    """Return the lengths of what goes into a node and of what comes out."""
    into, out = node.input_type["input"], node.output_type["output"]
    return math.prod(int(k) for k in into), math.prod(int(k) for k in out)


def branch_of(graph: nir.NIRGraph) -> Branch:
    """Return a graph as the tree that `nir.write` makes of it, `version` and `node`, for a file of any kind."""
    return Branch({"version": nir.version, "node": _branch(graph.to_dict())})


def _branch(parts: Mapping[str, Any]) -> Branch:
    kept = {name: part for name, part in parts.items() if name != "metadata" or part}
    return Branch({name: _leaf(name, part) for name, part in kept.items()})


def _leaf(name: str, part: Any) -> Any:
    if isinstance(part, dict):
        return _branch(part)
    if name == "edges":
        return np.array(part, dtype=str).reshape(-1, 2)
    return part if isinstance(part, str) else np.asarray(part)


def graph_of(tree: Branch, place: str) -> nir.NIRGraph:
    """Return the graph that a tree read from the file `place` holds.

    Raises
    ------
    CheckpointError
        If it is no NIR graph, nests graphs, or has nodes other than those above.
    """
    root = tree.parts.get("node")
    if not isinstance(root, Branch) or str(root.parts.get("type")) != "NIRGraph":
        raise CheckpointError(f"{place} must hold a NIR graph under 'node'. It is no NIR file.")
    nodes, edges, said = (root.parts.get(name) for name in ("nodes", "edges", "metadata"))
    if (
        not isinstance(nodes, Branch)
        or not isinstance(said, Branch | None)
        or not isinstance(edges, np.ndarray)
        or edges.dtype.kind != "U"
    ):
        raise CheckpointError(f"{place}: the graph must hold 'nodes' and 'edges' of names. It is damaged.")
    if edges.size and (edges.ndim != 2 or edges.shape[1] != 2):
        raise CheckpointError(f"{place}: 'edges' must be pairs of names; got the shape {edges.shape}.")
    pairs = [(str(pre), str(post)) for pre, post in edges.reshape(-1, 2)]
    found = {name: part.parts if isinstance(part, Branch) else {} for name, part in nodes.parts.items()}
    try:
        plain = {name: _plain(value, name) for name, value in (said.parts if said else {}).items()}
        return sound_graph(found, pairs, plain)
    except InputError as error:
        raise CheckpointError(f"{place}: {error}") from None


def sound_graph(
    nodes: Mapping[str, Mapping[str, Any]], edges: list[tuple[str, str]], metadata: Mapping[str, Any]
) -> nir.NIRGraph:
    """Return a graph of linear nodes, each of a mapping as `to_dict` of nir makes it.

    The checks of types that nir has are left out: they take a time that goes with the square of the edges.

    Raises
    ------
    InputError
        If a node is of another kind, its name cannot be used, its parameters do not fit together or are not finite
        numbers, or an edge joins nodes that do not fit.
    """
    made = {name: _node(name, part) for name, part in nodes.items()}
    for pre, post in edges:
        for name in (pre, post):
            if name not in made:
                raise InputError(f"the edge {pre!r} → {post!r} must join nodes of the graph; there is no {name!r}.")
        out, into = sizes_of(made[pre])[1], sizes_of(made[post])[0]
        if out != into:
            raise InputError(f"the edge {pre!r} → {post!r} must join equal sizes; got {out} and {into}.")
    return nir.NIRGraph(made, edges, dict(metadata), type_check=False)


def _node(name: str, part: Mapping[str, Any]) -> nir.NIRNode:
    """Return a node of parameters that fit together.

    Floats stay what they are; whole numbers and half precision become float64, since −W would wrap in unsigned ones.
    """
    # A dot would be part of a path in torch, a slash in HDF5.
    if not name.isprintable() or not name or set(name) & set("./\\") or len(name) > 200:
        raise InputError(f"the name of a node must be printable text without dots and slashes; got {name!r}.")
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in PARAMETERS:
        hint = " Nested graphs are not read." if str(kind) == "NIRGraph" else ""
        raise InputError(f"node {name!r} must be one of {', '.join(PARAMETERS)}, which are linear; got {kind!r}.{hint}")
    own: dict[str, Any] = {}
    for key in PARAMETERS[kind]:
        if not isinstance(part.get(key), np.ndarray):
            raise InputError(f"node {name!r} must have the parameter {key!r}, an array.")
        words = f"{key!r} of node {name!r}"
        number = _validation.whole_numbers if key == "shape" else _validation.real_array
        own[key] = _validation.finite(number(part[key], words), words)  # type: ignore[arg-type]
    shapes = {key: value.shape for key, value in own.items()}
    if kind in ("Linear", "Affine"):
        fits = len(shapes["weight"]) == 2 and shapes.get("bias", shapes["weight"][:1]) == shapes["weight"][:1]
    else:
        fits = len(set(shapes.values())) == 1 and all(len(shape) == 1 for shape in shapes.values())
    if not fits or ("shape" in own and (own["shape"] < 1).any()):
        raise InputError(f"the parameters of node {name!r} ({kind}) must fit together; got the shapes {shapes}.")
    if kind == "LI" and not (own["tau"] > 0).all():
        raise InputError(f"'tau' of node {name!r} must be > 0 (seconds).")
    return nir.dict2NIRNode({"type": kind, **own})


def _plain(value: Any, name: str) -> Any:
    """Return what metadata say: a text, a number, or an array in floats."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return value
    return value.item() if value.ndim == 0 else _validation.real_array(value, f"{name!r} of the metadata")
