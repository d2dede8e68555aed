"""Circuits and linear networks go to NIR and come back to the bit; what NIR cannot say is refused."""

import h5py
import nir
import numpy as np
import pytest
from scipy.sparse import csr_array

from neurodecorr import export
from neurodecorr.circuit import Circuit, SparseCircuit, TwoPopulationCircuit, integrate
from neurodecorr.errors import CheckpointError, ConfigError, InputError, StabilityError
from neurodecorr.io import Recorder, Variable, read_traces
from neurodecorr.network import Decorrelation, Dense, Network

RNG = np.random.default_rng(5)


def circuit(n=6, tau=0.02, dtype="f8"):
    """Return a circuit that is not symmetric, so that a transposition shows."""
    return Circuit((1.3 * np.eye(n) + RNG.standard_normal((n, n)) / (2 * np.sqrt(n))).astype(dtype), tau)


def network(form, activation="identity"):
    layers = [Dense(5, activation), Dense(4, "identity"), Dense(3, "identity")]
    made = Network(
        layers,
        6,
        decorrelation=Decorrelation(form, rate=1e-2, rule="explicit", rate_is="absolute"),
        loss="mse",
        dtype="float64",
        seed=1,
    )
    X = np.random.default_rng(2).standard_normal((40, 6)) + 1
    for _ in range(5):
        made.decorrelate(made.forward(X).signals)
    for layer in made.layers:
        layer.b += 0.1
    return made


def identical(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [1, 2, 17])
def test_a_circuit_comes_back_to_the_bit(tmp_path, n, dtype):
    R = circuit(n, 0.02, dtype).R.copy()
    R[0, -1] = -0.0 if n > 1 else R[0, -1]
    R[0, 0] = 0.9 + 1 / 3  # 1 − (1 − r) ≠ r
    own = Circuit(R, 1 / 3)
    again = export.read_nir(export.write_nir(own, tmp_path / "c.nir"))
    assert identical(again.R, own.R) and again.tau == own.tau and type(again) is Circuit


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_pair_of_populations_comes_back_to_the_bit(tmp_path, dtype):
    own = TwoPopulationCircuit(-circuit(5, dtype=dtype).R, tau=0.03, tau_error=0.007)
    again = export.read_nir(export.write_nir(own, tmp_path / "c.nir"))
    assert identical(again.R, own.R) and (again.tau, again.tau_error) == (0.03, 0.007)


@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent"])
def test_a_linear_network_comes_back_to_the_bit(tmp_path, form):
    own = network(form).as_circuit(tau=0.02, tau_units=0.005)
    again = export.read_nir(export.write_nir(own, tmp_path / "n.nir"))
    assert (again.tau, again.tau_units) == (0.02, 0.005)
    for mine, found in zip(own.layers, again.layers, strict=True):
        for name in ("W", "b", "mean", "feed", "lateral"):
            one, other = getattr(mine, name), getattr(found, name)
            assert one is other is None or identical(one, other)


def test_equal_circuits_give_equal_files(tmp_path):
    own = circuit()
    paths = [export.write_nir(own, tmp_path / name) for name in ("a.nir", "b.nir")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_time_constants_are_seconds_and_keep_their_ratio(tmp_path):
    own = circuit(4, tau=1.0).two_population(0.5)
    again = export.read_nir(export.write_nir(own, tmp_path / "c.nir", tau_s=0.02))
    assert (again.tau, again.tau_error) == (0.02, 0.01)
    graph = export.nir.files.read_nir_graph(tmp_path / "c.nir")
    assert graph.metadata["time_unit"] == "s" and graph.nodes["01_error"].tau.tolist() == [0.01] * 4


def test_names_sort_in_the_order_in_which_signals_pass(tmp_path):
    graph = export.nir.files.read_nir_graph(export.write_nir(network("feedforward"), tmp_path / "n.nir"))
    names = list(graph.nodes)
    assert names == sorted(names) and not any(set(name) & set("./") for name in names)
    rank = {name: index for index, name in enumerate(names)}
    assert all(rank[pre] < rank[post] for pre, post in graph.edges)


def test_the_file_says_what_it_holds(tmp_path):
    own = circuit()
    graph = export.nir.files.read_nir_graph(
        export.write_nir(own, tmp_path / "c.nir", metadata={"rule": "local", "rate": 1e-3, "seed": 4})
    )
    said = graph.metadata
    assert said["equation"] == "tau dxbar/dt = x - R xbar" and said["weights"].startswith("rows postsynaptic")
    assert said["rule"] == "local" and said["rate"] == 1e-3 and said["seed"] == 4
    assert said["condition"] == pytest.approx(np.linalg.cond(own.R)) and said["schema"] == "neurodecorr-nir"
    assert said["min_re_lambda"] == pytest.approx(np.linalg.eigvals(own.R).real.min())


def test_the_layout_is_that_of_the_format(tmp_path):
    # https://neuroir.org: /version and /node with type, nodes, edges; LI has tau, r, v_leak; y = W x.
    own = circuit(3)
    with h5py.File(export.write_nir(own, tmp_path / "c.nir"), "r") as file:
        assert file["version"].asstr()[()] == nir.version and file["node/type"].asstr()[()] == "NIRGraph"
        unit, lateral = file["node/nodes/01_xbar"], file["node/nodes/02_lateral"]
        assert unit["type"].asstr()[()] == "LI" and lateral["type"].asstr()[()] == "Linear"
        assert unit["tau"][:].tolist() == [0.02] * 3 and unit["r"][:].tolist() == [1.0] * 3
        assert np.array_equal(lateral["weight"][:], np.eye(3) - own.R)
        edges = [tuple(edge) for edge in file["node/edges"].asstr()[()]]
    assert ("01_xbar", "02_lateral") in edges and ("02_lateral", "01_xbar") in edges


def leaves(path):
    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize("form", ["none", "recurrent"])
def test_a_file_holds_what_nir_writes(tmp_path, form):
    ours = export.write_nir(network(form), tmp_path / "ours.nir")
    nir.write(tmp_path / "theirs.nir", nir.read(ours))
    own, other = leaves(ours), leaves(tmp_path / "theirs.nir")
    assert own.keys() == other.keys() and all(np.array_equal(own[name], other[name]) for name in own)


def test_activations_that_nir_cannot_say_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match=r"layer 0 .*'relu'.*write_nir_layers"):
        export.write_nir(network("recurrent", "relu"), tmp_path / "n.nir")
    assert not (tmp_path / "n.nir").exists()


def test_one_file_per_layer_gives_the_network_with_its_activations_between(tmp_path):
    own = network("recurrent", "tanh")
    X = RNG.standard_normal((7, 6))
    x = X
    paths = export.nir.files.write_nir_layers(own, tmp_path / "layers")
    assert [path.name for path in paths] == ["layer0.nir", "layer1.nir", "layer2.nir"]
    for path in paths:
        said = export.nir.files.read_nir_graph(path).metadata
        h = export.state_space(path).rest(x)
        x = np.tanh(h) if said["activation"] == "tanh" else h
    assert np.abs(x - own.forward(X).output).max() < 1e-12


UNSTABLE = np.array([[1.0, 3.0], [3.0, 1.0]])


def test_an_unstable_circuit_is_refused_when_written_and_when_read(tmp_path):
    path = tmp_path / "c.nir"
    with pytest.raises(StabilityError, match=r"min Re λ.* -2"):
        export.write_nir(Circuit(UNSTABLE), path)
    export.write_nir(Circuit(UNSTABLE), path, require_stable=False)
    with pytest.raises(StabilityError, match="or pass require_stable=False"):
        export.read_nir(path)
    assert identical(export.read_nir(path, require_stable=False).R, UNSTABLE)


def test_an_unstable_layer_is_named(tmp_path):
    own = network("recurrent")
    own.layers[1].decorrelator.arrays["R"][...] = -np.eye(5)
    with pytest.raises(StabilityError, match="layer 1: R must have min Re λ > 0"):
        export.write_nir(own, tmp_path / "n.nir")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: export.write_nir(np.ones((2, 3)), p), InputError, "got ndarray. Use Circuit"),
        (lambda p: export.write_nir(Circuit(np.ones((2, 3))), p), InputError, "R must be a square matrix"),
        (
            lambda p: export.write_nir(SparseCircuit(csr_array(np.eye(3))), p),
            InputError,
            r"Circuit\(circuit.R.toarray\(\)",
        ),
        (lambda p: export.write_nir(circuit(), p, "sinab"), ConfigError, "Did you mean 'sinabs'"),
        (lambda p: export.write_nir(circuit(), p, "sinabs"), ConfigError, "needs dt_s"),
        (lambda p: export.write_nir(circuit(), p, dt_s=1e-4), ConfigError, "continuous in time; got dt_s=0.0001"),
        (lambda p: export.write_nir(circuit(), p, "sinabs", dt_s=1.0), ConfigError, "must be < 0.02 s"),
        (lambda p: export.write_nir(circuit(), p, "sinabs", dt_s=1e-4, discretisation="x"), ConfigError, "'held'"),
        (lambda p: export.write_nir(circuit(1), p, "rockpool", dt_s=1e-4), ConfigError, "at least 2 units"),
        (lambda p: export.write_nir(circuit(), p, tau_s=-1), ConfigError, "tau_s must be > 0"),
        (lambda p: export.write_nir(circuit(), p, metadata={"a/b": 1}), ConfigError, "plain names.*'a/b'"),
        (lambda p: export.write_nir(circuit(), p, metadata={"R_diagonal": 1}), ConfigError, "not taken"),
        (lambda p: export.nir.files.write_nir_layers(circuit(), p), ConfigError, "takes a network; got Circuit"),
    ],
)
def test_bad_requests_are_refused_and_write_nothing(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        make(tmp_path / "c.nir")
    assert not list(tmp_path.iterdir())


def changed(name, change):
    def forge(file):
        change(file, file["node/nodes"][name] if name else None)

    return forge


def put(group, name, value):
    if name in group:
        del group[name]
    group[name] = value


HOSTILE = {
    "no_graph": (lambda f: f.__delitem__("node"), "must hold a NIR graph under 'node'"),
    "nested": (lambda f: put(f["node/nodes/01_xbar"], "type", "NIRGraph"), "Nested graphs are not read"),
    "a_kind_of_numbers": (lambda f: put(f["node/nodes/01_xbar"], "type", np.ones(3)), "'01_xbar' must be one of Input"),
    "a_graph_of_numbers": (lambda f: put(f["node"], "type", np.ones(3)), "must hold a NIR graph under 'node'"),
    "metadata_of_numbers": (lambda f: put(f["node"], "metadata", np.ones(3)), "'nodes' and 'edges' of names"),
    "a_subject_of_numbers": (lambda f: put(f["node/metadata"], "subject", np.ones(3)), "a graph that write_nir makes"),
    "spiking": (lambda f: put(f["node/nodes/01_xbar"], "type", "LIF"), "which are linear; got 'LIF'"),
    "path_in_a_name": (lambda f: f["node/nodes"].move("01_xbar", "01.xbar"), "without dots and slashes; got '01.xbar'"),
    "edge_to_nowhere": (lambda f: f["node/nodes"].move("01_xbar", "01_y"), "there is no '01_xbar'"),
    "edges_of_three": (lambda f: put(f["node"], "edges", np.full((2, 3), "a", object)), "must be pairs of names"),
    "edges_of_numbers": (lambda f: put(f["node"], "edges", np.ones((2, 2))), "'edges' of names"),
    "not_square": (lambda f: put(f["node/nodes/02_lateral"], "weight", np.ones((6, 5))), "must join equal sizes"),
    "a_cube": (lambda f: put(f["node/nodes/02_lateral"], "weight", np.ones((6, 6, 6))), "must fit together"),
    "nan": (lambda f: put(f["node/nodes/02_lateral"], "weight", np.full((6, 6), np.nan)), "must be finite"),
    "text_weights": (lambda f: put(f["node/nodes/02_lateral"], "weight", "1"), "must have the parameter 'weight'"),
    "singular": (lambda f: put(f["node/nodes/02_lateral"], "weight", np.eye(6)), "R must be invertible"),
    "no_tau": (lambda f: f["node/nodes/01_xbar"].__delitem__("tau"), "must have the parameter 'tau'"),
    "negative_tau": (lambda f: put(f["node/nodes/01_xbar"], "tau", -np.ones(6)), "'tau' of node '01_xbar' must be > 0"),
    "many_taus": (
        lambda f: put(f["node/nodes/01_xbar"], "tau", np.arange(1.0, 7)),
        "'tau' of '01_xbar' must be what write_nir makes",
    ),
    "gain": (
        lambda f: put(f["node/nodes/01_xbar"], "r", 2 * np.ones(6)),
        "'r' of '01_xbar' must be what .* Use state_space",
    ),
    "drive": (
        lambda f: put(f["node/nodes/01_xbar"], "v_leak", np.ones(6)),
        "'v_leak' of '01_xbar' must be what write_nir makes",
    ),
    "external": (lambda f: f.__setitem__("x", h5py.ExternalLink("o.h5", "/")), "links are never followed"),
    "external_weights": (
        lambda f: (
            f["node/nodes/02_lateral"].__delitem__("weight"),
            f["node/nodes/02_lateral"].create_dataset("weight", (6, 6), "f8", external=[("o.bin", 0, 288)]),
        ),
        "keeps its values in another file",
    ),
    "absurd_size": (
        lambda f: (
            f["node/nodes/02_lateral"].__delitem__("weight"),
            f["node/nodes/02_lateral"].create_dataset("weight", (10**7, 10**7), "f8"),
        ),
        "declares 800000000000000 bytes",
    ),
    "absurd_input": (lambda f: put(f["node/nodes/00_input"], "shape", [10**9]), "must join equal sizes"),
    "one_edge_more": (
        lambda f: put(f["node"], "edges", np.concatenate([f["node/edges"][()], [[b"00_input", b"03_output"]]])),
        "must hold a graph that write_nir makes",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_refused(tmp_path, name):
    path = export.write_nir(circuit(), tmp_path / "c.nir")
    forge, message = HOSTILE[name]
    with h5py.File(path, "r+") as file:
        forge(file)
    with pytest.raises(CheckpointError, match=message) as caught:
        export.read_nir(path)
    assert "c.nir" in str(caught.value)


def test_weights_changed_by_hand_win_over_the_diagonal_that_was_kept(tmp_path):
    own = circuit()
    path = export.write_nir(own, tmp_path / "c.nir")
    with h5py.File(path, "r+") as file:
        weight = file["node/nodes/02_lateral/weight"]
        weight[2, 2] -= 0.5
        expected = np.eye(6) - weight[()]
    assert np.abs(export.read_nir(path).R - expected).max() < 1e-15


def test_a_file_beyond_the_limit_is_refused(tmp_path):
    path = export.write_nir(circuit(30), tmp_path / "c.nir")
    with pytest.raises(CheckpointError, match="must hold at most 5000 bytes"):
        export.read_nir(path, max_bytes=5000)


@pytest.mark.parametrize("name", ["04_layer0_units", "05_layer1_xbar"])
def test_networks_changed_by_hand_are_refused(tmp_path, name):
    path = export.write_nir(network("recurrent"), tmp_path / "n.nir")
    with h5py.File(path, "r+") as file:
        put(file[f"node/nodes/{name}"], "v_leak", np.ones(5))
    with pytest.raises(CheckpointError, match=rf"'v_leak' of '{name}' must be what write_nir makes of the circuit"):
        export.read_nir(path)


def test_a_pair_whose_way_back_is_no_transpose_is_refused(tmp_path):
    path = export.write_nir(circuit().two_population(), tmp_path / "p.nir")
    with h5py.File(path, "r+") as file:
        file["node/nodes/02_back/weight"][0, 1] += 0.5
    with pytest.raises(CheckpointError, match="'weight' of '02_back' must be what write_nir makes of the circuit"):
        export.read_nir(path)


def test_one_file_is_graph_activity_and_traces(tmp_path):
    own, t = circuit(), np.linspace(0, 0.1, 51)
    activity = export.nir.data.time_gridded(integrate(own, RNG.standard_normal((2, 6)), 0.1, times=t))
    path = tmp_path / "one.h5"
    with Recorder(
        path, [Variable("R", (6, 6))], parts=export.nir.files.nir_parts(own, data={"xbar": {"v": activity}})
    ) as recorder:
        for step in range(10):
            recorder.record(step, {"R": own.R + step})
    assert identical(export.read_nir(path).R, own.R)
    found = export.nir.data.read_nir_data(path)["01_xbar"]["v"]
    assert identical(found.data, activity.data) and found.dt == activity.dt
    traces = read_traces(path)
    assert traces.complete and identical(traces["R"].values[3], own.R + 3) and traces.metadata == {}


def test_a_graph_joins_a_finished_trace_file_once(tmp_path):
    own, path = circuit(), tmp_path / "traces.h5"
    with Recorder(path, [Variable("a")]) as recorder:
        recorder.record(0, {"a": 1.5})
    export.add_nir(path, own)
    assert identical(export.read_nir(path).R, own.R) and read_traces(path)["a"].values.tolist() == [1.5]
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="has 'version' already"):
        export.add_nir(path, own)
    assert path.read_bytes() == before
