"""The graph alone, read by what its nodes mean, does what the circuit does."""

from itertools import pairwise

import nir
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurodecorr import export
from neurodecorr.circuit import Circuit, integrate, settle
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.network import Decorrelation, Dense, Network

RNG = np.random.default_rng(8)


def circuit(n, tau=0.02):
    return Circuit(1.3 * np.eye(n) + RNG.standard_normal((n, n)) / (2 * np.sqrt(n)), tau)


@pytest.mark.parametrize("n", [1, 4, 16, 64])
@pytest.mark.parametrize("pair", [False, True])
def test_the_graph_alone_follows_the_circuit_and_rests_where_it_does(tmp_path, n, pair):
    own = circuit(n).two_population(0.005) if pair else circuit(n)
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    x, t = RNG.standard_normal((3, n)), np.linspace(0, 0.2, 41)
    there = integrate(own, x, 0.2, times=t, rtol=1e-11, atol=1e-13)
    # An independent integrator at rtol 1e-11, against matrix exponentials.
    assert np.abs(space.respond(x, t) - np.moveaxis(there.xbar, 1, 0)).max() < 1e-8
    assert np.abs(space.rest(x) - np.linalg.solve(own.R, x.T).T).max() < 1e-10
    assert np.abs(space.rest(x) - settle(own, x, tol=1e-9).xbar).max() < 2e-9


def test_the_graph_alone_agrees_with_scipy_on_its_matrices(tmp_path):
    space = export.state_space(export.write_nir(circuit(5).two_population(), tmp_path / "c.nir"))
    x, t = RNG.standard_normal(5), np.array([0.0, 0.003, 0.0301, 0.1])
    done = solve_ivp(
        lambda _, z: space.A @ z + space.B @ x + space.drift,
        (0, 0.1),
        np.zeros(10),
        "DOP853",
        t,
        rtol=1e-12,
        atol=1e-14,
    )
    assert np.abs(space.respond(x, t) - (space.C @ done.y).T).max() < 1e-9


@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent"])
def test_the_graph_of_a_network_rests_where_its_forward_pass_says(tmp_path, form):
    layers = [Dense(5, "identity"), Dense(3, "identity")]
    own = Network(
        layers,
        4,
        decorrelation=Decorrelation(form, rate=1e-2, rule="explicit", rate_is="absolute"),
        loss="mse",
        dtype="float64",
        seed=1,
    )
    X = RNG.standard_normal((30, 4)) + 1
    for _ in range(5):
        own.decorrelate(own.forward(X).signals)
    space = export.state_space(export.write_nir(own, tmp_path / "n.nir", tau_s=0.01))
    assert np.abs(space.rest(X) - own.forward(X).output).max() < 1e-12
    t = np.linspace(0, 0.05, 11)
    there = own.as_circuit(0.01, 0.01).integrate(X, 0.05, t, rtol=1e-10)
    assert np.abs(space.respond(X, t) - np.moveaxis(there.activity[-1], 1, 0)).max() < 1e-7


def test_a_held_input_is_run_step_by_step(tmp_path):
    own = circuit(4)
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    x = RNG.standard_normal(4)
    steps = space.run(np.tile(x, (50, 1)), 1e-3)
    assert np.abs(steps - space.respond(x, 1e-3 * np.arange(1, 51))).max() < 1e-12
    # What came before moves on as e^(−R t/τ), whatever comes after.
    ends = space.run(np.concatenate([np.tile(x, (50, 1)), np.zeros((1, 4))]), 1e-3)[-1]
    eigenvalues, V = np.linalg.eig(-own.R / own.tau)
    moved = (V @ np.diag(np.exp(1e-3 * eigenvalues)) @ np.linalg.inv(V)).real @ steps[-1]
    assert np.abs(ends - moved).max() < 1e-12


def node(kind, **parameters):
    return getattr(nir, kind)(**{name: np.asarray(value) for name, value in parameters.items()})


def graph_of(nodes, edges):
    return nir.NIRGraph(nodes, list(edges), type_check=False)


ENDS = {"in": node("Input", input_type=[2]), "out": node("Output", output_type=[2])}
UNIT = node("LI", tau=[0.5, 0.25], r=[2.0, 3.0], v_leak=[1.0, -1.0])


def test_every_kind_of_node_means_what_the_format_says():
    # τ v̇ = v_leak − v + r (s ∘ x + b + W v), by hand.
    nodes = {
        **ENDS,
        "unit": UNIT,
        "scale": node("Scale", scale=[10.0, 20.0]),
        "affine": node("Affine", weight=[[0.0, 1.0], [2.0, 0.0]], bias=[0.5, 0.25]),
    }
    edges = (("in", "scale"), ("scale", "unit"), ("unit", "affine"), ("affine", "unit"), ("unit", "out"), ("in", "out"))
    space = export.state_space(graph_of(nodes, edges))
    assert space.A.tolist() == [[-2.0, 4.0], [24.0, -4.0]]
    assert space.B.tolist() == [[40.0, 0.0], [0.0, 240.0]]
    assert space.drift.tolist() == [4.0, -1.0]
    assert space.C.tolist() == np.eye(2).tolist() == space.D.tolist()


def test_an_integrator_integrates():
    nodes = {**ENDS, "sum": node("I", r=[3.0, 3.0])}
    space = export.state_space(graph_of(nodes, (("in", "sum"), ("sum", "out"))))
    assert np.allclose(space.respond([1.0, 2.0], [0.0, 0.5, 2.0]), [[0, 0], [1.5, 3.0], [6.0, 12.0]], atol=1e-12)
    with pytest.raises(StabilityError, match=r"max Re λ\(A\) < 0 to come to rest; it is 0"):
        space.rest([1.0, 2.0])


def test_edges_to_one_node_add_up():
    nodes = {**ENDS, "unit": UNIT, "a": node("Linear", weight=np.eye(2)), "b": node("Linear", weight=2 * np.eye(2))}
    edges = (("in", "a"), ("in", "b"), ("in", "unit"), ("a", "unit"), ("b", "unit"), ("unit", "out"))
    assert export.state_space(graph_of(nodes, edges)).B.tolist() == [[16.0, 0.0], [0.0, 48.0]]


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            {"a": node("Linear", weight=np.eye(2)), "b": node("Linear", weight=np.eye(2))},
            [("a", "b"), ("b", "a"), ("b", "unit")],
            "circle; got",
        ),
        ({"in2": node("Input", input_type=[2])}, [], "one input and one output; got 1, 2 and 1"),
    ],
    ids=["circle", "two_inputs"],
)
def test_graphs_without_a_meaning_are_refused(nodes, edges, message):
    graph = graph_of({**ENDS, "unit": UNIT, **nodes}, (("in", "unit"), ("unit", "out"), *edges))
    with pytest.raises(InputError, match=message):
        export.state_space(graph)


def test_a_long_path_is_refused_before_it_exhausts_the_stack():
    chain = {f"s{k}": node("Scale", scale=[1.0, 1.0]) for k in range(3000)}
    names = ["in", *chain, "unit", "out"]
    graph = graph_of({**ENDS, "unit": UNIT, **chain}, tuple(pairwise(names)))
    with pytest.raises(InputError, match="at most 200"):
        export.state_space(graph)


def test_a_graph_in_the_steps_of_a_simulator_is_not_taken_for_seconds(tmp_path):
    path = export.write_nir(circuit(3), tmp_path / "c.nir", "sinabs", dt_s=1e-4)
    with pytest.raises(ConfigError, match="in the dialect 'sinabs'"):
        export.state_space(path)


@pytest.mark.parametrize("times", [[0.1, 0.0], [-1.0], [[0.1]], []])
def test_times_must_ascend_from_zero(times):
    space = export.state_space(graph_of({**ENDS, "unit": UNIT}, (("in", "unit"), ("unit", "out"))))
    with pytest.raises(InputError, match="ascending"):
        space.respond([1.0, 1.0], times)
