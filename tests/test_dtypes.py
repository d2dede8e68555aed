"""Numbers of every type are read as the numbers that they are: nothing is computed in the type of a file."""

import warnings
from pathlib import Path

import nir
import numpy as np
import pytest
import scipy.sparse

import neurodecorr as nd
from neurodecorr import data, export, hardware, measures
from neurodecorr.circuit import Circuit, PiecewiseConstant, SparseCircuit, integrate, settle
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.export.bundle import reference_response
from neurodecorr.export.bundle.contents import topology_text
from neurodecorr.export.bundle.fixed_point import to_fixed_point
from neurodecorr.export.circuits import find_circuits
from neurodecorr.export.nir.graph import branch_of, sizes_of, sound_graph
from neurodecorr.io import Result, load_result
from neurodecorr.io.trees import Branch, write_tree

R = np.array([[3.0, 1, 0], [2, 5, 1], [1, 0, 4]])
X = np.array([[7.0, 100, 31], [0, 120, 3], [9, 100, 25], [60, 2, 13], [21, 90, 17], [13, 45, 99]])
PIXELS = np.random.default_rng(0).integers(0, 125, (20, 30)).astype(float)
TYPES = ["i1", "u1", "i2", ">i2", "u2", "i4", "u4", ">u4", "i8", "u8", ">u8", "f2", "f4", ">f4", ">f8", "g"]
REFUSED = {"complex": np.complex128, "objects": object, "texts": "U8", "dates": "M8[s]"}


def nir_file(W, folder):
    """Write a graph of somebody else's, with weights of any type."""
    nodes = {
        "input": Branch({"type": "Input", "shape": np.array([3], np.uint8)}),
        "li": Branch({"type": "LI", **{k: np.full(3, v, W.dtype) for k, v in {"tau": 2, "r": 1, "v_leak": 0}.items()}}),
        "w": Branch({"type": "Linear", "weight": W}),
        "output": Branch({"type": "Output", "shape": np.array([3], np.uint8)}),
    }  # fmt: skip
    edges = np.array([("input", "li"), ("li", "w"), ("w", "li"), ("li", "output")])
    root = {"type": "NIRGraph", "nodes": Branch(nodes), "edges": edges}
    return write_tree(folder / "a.nir", Branch({"version": "1.0.8", "node": Branch(root)}))


def bundle_with(A, folder):
    path = export.export_bundle(Circuit(R, 0.1), X, folder / "b")
    return export.load_bundle(with_weights(path, R=A)).contents.circuit.R


def with_weights(path, **arrays):
    import json

    from neurodecorr.export.bundle.manifest import manifest
    from neurodecorr.io.archive import read_files

    result = load_result(path / "weights.npz")
    Result({**result.arrays, **arrays}, result.meta).save(path / "weights.npz")
    document = json.loads((path / "manifest.json").read_text("utf-8"))
    files = {name: data for name, data in read_files(path).items() if name != "manifest.json"}
    document["files"] = manifest("", files, {}, {})["files"]
    (path / "manifest.json").write_text(json.dumps(document), "utf-8")
    return path


def archive(A, folder):
    np.savez(folder / "t.npz", X=A)
    return data.load_inputs(str(folder / "t.npz")).inputs


def table(A, folder):
    np.save(folder / "t.npy", A)
    return data.load_inputs(str(folder / "t.npy")).inputs


def result(A, folder):
    path = Result({"R": A}, {"tau": 1.0}).save(folder / "result.npz")
    found = find_circuits(path)["R"]
    return np.concatenate([found.R, found.M])


def numbers_of(file):
    return np.array([float(line.split()[-1]) for line in Path(file).read_text().splitlines() if line[:1] == "G"])


READERS = {
    "Circuit": (lambda A, at: Circuit(A).R, R),
    "settle": (lambda A, at: settle(Circuit(R), A).xbar, X),
    "settle under weights": (lambda A, at: settle(Circuit(A), X).xbar, R),
    "two populations": (lambda A, at: settle(Circuit(A).two_population(), X).xbar, R),
    "integrate": (lambda A, at: integrate(Circuit(R), A, 1.0).xbar, X),
    "piecewise constant": (lambda A, at: integrate(Circuit(R), PiecewiseConstant(np.arange(6.0), A), 6.0).xbar, X),
    "piecewise linear": (lambda A, at: export.PiecewiseLinear(np.arange(6.0), A)(2.5), X),
    "Dataset": (lambda A, at: nd.Dataset(A).inputs, X),
    "npz": (archive, X),
    "npy": (table, X),
    "patches": (lambda A, at: data.image_patches(A, size=4, samples=20).inputs, PIXELS),
    "estimator": (lambda A, at: nd.RecurrentDecorrelator(epochs=1).fit(X).transform(A), X),
    "correlation": (lambda A, at: measures.rms_correlation(A), X),
    "closed form": (lambda A, at: nd.plasticity.decorrelating_matrix(A), R + R.T),
    "NIR": (lambda A, at: export.read_nir(nir_file(A, at), require_stable=False).R, R),
    "NIR as a system": (lambda A, at: export.state_space(nir_file(A, at)).A, R),
    "NIR activity": (
        lambda A, at: export.nir.data.read_nir_data(
            export.nir.data.write_nir_data(at / "d.nir", {"a": {"v": nir.TimeGriddedData(A[None], 0.1)}})
        )["a"]["v"].data.astype(float),
        X,
    ),
    "result": (result, R),
    "bundle": (bundle_with, R),
    "stimuli of a bundle": (
        lambda A, at: export.load_bundle(
            export.export_bundle(Circuit(R, 0.1), A, at / "b")
        ).contents.golden.stimulus,
        X,
    ),
    "conductances": (lambda A, at: hardware.map_to_conductances(A).weights(), R),
    "fixed point": (lambda A, at: to_fixed_point(A).weights(), R),
    "golden response": (lambda A, at: reference_response(Circuit(R), A).response, X),
    "netlist": (lambda A, at: numbers_of(export.write_spice(Circuit(A, 0.1), X[0], at / "s.cir")), R),
    "table of connections": (lambda A, at: np.array([len(topology_text(A)), hash(topology_text(A))]), R),
    "analogue circuit": (
        lambda A, at: (
            hardware.AnalogueCircuit.build(A, hardware.Devices(), hardware.Amplifier()).settle(X[0] / 1e3).xbar
        ),
        R,
    ),
}  # fmt: skip
STORES_NO_LONG_DOUBLES = {"NIR", "NIR as a system", "NIR activity"}  # HDF5 files of other tools do not hold them either


@pytest.mark.parametrize("reader", sorted(READERS))
def test_numbers_of_every_type_are_read_as_what_they_are(reader, tmp_path):
    read, A = READERS[reader]
    wanted = np.asarray(read(A.copy(), tmp_path), float)
    for name in TYPES[1::4] if "bundle" in reader else TYPES:  # a bundle takes its time
        if name == "g" and (reader in STORES_NO_LONG_DOUBLES):
            continue
        # Whole numbers below 128 are exact in every type; single precision computes with its own rounding.
        near = 1e-4 if name.endswith("f4") else 1e-12
        found = np.asarray(read(A.astype(name), tmp_path), float)
        np.testing.assert_allclose(found, wanted, rtol=near, atol=near * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("kind", sorted(REFUSED))
@pytest.mark.parametrize("reader", sorted(set(READERS) - {"estimator", "bundle", "correlation"}))
def test_what_is_no_number_is_refused_by_every_reader(reader, kind, tmp_path):
    read, A = READERS[reader]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hostile = A.astype(np.int64).astype(REFUSED[kind])
    with pytest.raises((InputError, CheckpointError)):
        read(hostile, tmp_path)


@pytest.mark.parametrize("name", ["i8", "u8"])
@pytest.mark.parametrize("reader", sorted(set(READERS) - {"NIR activity", "estimator", "correlation", "bundle"}))
def test_whole_numbers_that_double_precision_does_not_hold_are_refused(reader, name, tmp_path):
    read, A = READERS[reader]
    huge = A.astype(name)
    huge[0, 0] = 2**53 + 1
    with pytest.raises((InputError, CheckpointError), match=r"2\^53"):
        read(huge, tmp_path)


def test_sparse_weights_in_whole_numbers_are_weights():
    for name in ("i1", "u1", "i4", "u8", "f4", "?"):
        weights = np.eye(3) + np.diag([1.0, 1.0], 1) if name == "?" else R
        own = SparseCircuit(scipy.sparse.csr_array(weights.astype(name)))
        np.testing.assert_allclose(settle(own, X).xbar, np.linalg.solve(weights, X.T).T, rtol=1e-4, atol=1e-4)


def test_unsigned_weights_of_a_graph_do_not_wrap():
    image = {"type": "Input", "shape": np.array([200, 200], np.uint8)}
    graph = sound_graph({"x": image, "w": {"type": "Linear", "weight": np.array([[1]], np.uint8)}}, [], {})
    weight = graph.nodes["w"].weight
    assert weight.dtype == np.float64 and (-weight).item() == -1.0
    assert sizes_of(graph.nodes["x"]) == (40_000, 40_000)
    assert branch_of(graph).parts["node"].parts["nodes"].parts["w"].parts["weight"].dtype == np.float64
