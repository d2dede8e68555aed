"""A step of a simulator on its dialect is a step of the circuit: with the simulators' own formulas, written out here.

Sinabs 3.1 moves v ← e^(−1/τ) v + I; Rockpool 3.1 v ← e^(−dt/⌊τ⌋) (v + I) with dt = τ/(1 + r). Both keep single
precision; so does this.
"""

import h5py
import numpy as np
import pytest

from neurodecorr import export
from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.export.nir.graph import of_kind
from neurodecorr.network import Decorrelation, Dense, Network

RNG = np.random.default_rng(3)
DT = 1e-4


def circuit(n=8, tau=0.02):
    return Circuit(1.3 * np.eye(n) + RNG.standard_normal((n, n)) / (2 * np.sqrt(n)), tau)


def network():
    made = Network(
        [Dense(5, "identity"), Dense(3, "identity")],
        8,
        decorrelation=Decorrelation("recurrent", rate=1e-2, rule="explicit", rate_is="absolute"),
        loss="mse",
        seed=1,
    )
    for _ in range(5):
        made.decorrelate(made.forward(RNG.standard_normal((30, 8)) + 1).signals)
    return made.as_circuit(0.02, 0.01)


SUBJECTS = {"circuit": circuit(), "pair": circuit().two_population(0.01), "network": network()}


def simulated(graph, dialect, x, steps):
    """Run a graph with one node of units as the simulator does."""
    (unit,) = of_kind(graph, "LI")
    tau, r = graph.nodes[unit].tau, graph.nodes[unit].r
    feed, lateral = (
        next(graph.nodes[name] for name in graph.nodes if name.endswith(key)) for key in ("feed", "lateral")
    )
    read = next((graph.nodes[name] for name in graph.nodes if name.endswith("read")), None)
    v, found = np.zeros(len(tau), np.float32), []
    drive = feed.weight @ x.astype(np.float32) + feed.bias
    for _ in range(steps):
        current = drive + lateral.weight @ v + lateral.bias
        if dialect == "sinabs":
            assert (r == 1).all()
            v = np.exp(-1 / tau) * v + current
        else:
            dt = np.min(tau / (1 + r))
            v = np.exp(-dt / tau.astype(np.int32)) * (v + current)
        v = v.astype(np.float32)
        found.append(v if read is None else read.weight @ v + read.bias)
    return np.array(found)


@pytest.mark.parametrize("dialect", ["sinabs", "rockpool"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_exact_steps_are_exact_to_single_precision(tmp_path, name, dialect):
    own = SUBJECTS[name]
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    path = export.write_nir(own, tmp_path / "d.nir", dialect, dt_s=DT, discretisation="exact")
    x = RNG.standard_normal(8)
    ends = space.respond(x, DT * np.arange(1, 1001))
    # Rounding of the weights by 6e-8 is amplified by 1/(1 − |eigenvalue of a step|), here up to 4000.
    assert (
        np.abs(simulated(export.nir.files.read_nir_graph(path), dialect, x, 1000) - ends).max()
        < 2e-4 * np.abs(ends).max()
    )


@pytest.mark.parametrize("dialect", ["sinabs", "rockpool"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_held_steps_err_in_proportion_to_the_step_and_rest_exactly(tmp_path, name, dialect):
    own, x = SUBJECTS[name], RNG.standard_normal(8)
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    errors = []
    for dt in (8e-4, 4e-4, 2e-4):
        path = export.write_nir(own, tmp_path / "d.nir", dialect, dt_s=dt)
        steps = round(0.2 / dt)
        found = simulated(export.nir.files.read_nir_graph(path), dialect, x, steps)
        errors.append(np.abs(found - space.respond(x, dt * np.arange(1, steps + 1))).max())
    ratios = np.array(errors[:-1]) / errors[1:]
    assert np.all(np.abs(np.log2(ratios) - 1) < 0.2)
    long = simulated(export.nir.files.read_nir_graph(path), dialect, x, 10_000)[-1]
    assert np.abs(long - space.rest(x)).max() < 1e-4 * max(1.0, np.abs(space.rest(x)).max())


def test_held_weights_show_the_circuit(tmp_path):
    own = circuit(5)
    path = export.write_nir(own, tmp_path / "d.nir", "sinabs", dt_s=DT)
    graph = export.nir.files.read_nir_graph(path)
    gain = 1 - np.exp(-DT / own.tau)
    assert np.abs(graph.nodes["03_lateral"].weight / gain - (np.eye(5) - own.R)).max() < 1e-6
    assert np.abs(graph.nodes["01_feed"].weight / gain - np.eye(5)).max() < 1e-6
    assert graph.nodes["02_xbar"].tau.tolist() == [200.0] * 5


@pytest.mark.parametrize("discretisation", ["held", "exact"])
@pytest.mark.parametrize("dialect", ["sinabs", "rockpool"])
@pytest.mark.parametrize("name", ["circuit", "pair"])
def test_a_dialect_comes_back_to_the_bit_and_tells_when_it_was_changed(tmp_path, name, dialect, discretisation):
    own = SUBJECTS[name]
    path = export.write_nir(own, tmp_path / "d.nir", dialect, dt_s=DT, discretisation=discretisation)
    again = export.read_nir(path)
    assert again.R.tobytes() == own.R.tobytes() and again.tau == own.tau
    with h5py.File(path, "r+") as file:
        file["node/nodes/03_lateral/weight"][0, -1] *= 1.1
    with pytest.raises(CheckpointError, match="'weight' of '03_lateral' must be what write_nir makes"):
        export.read_nir(path)


def test_a_network_in_a_dialect_is_not_read_back(tmp_path):
    path = export.write_nir(SUBJECTS["network"], tmp_path / "d.nir", "sinabs", dt_s=DT)
    with pytest.raises(CheckpointError, match="Read the canonical file instead"):
        export.read_nir(path)


def test_rockpool_needs_time_constants_that_it_can_tell_apart(tmp_path):
    own = circuit(3, tau=2e-5).two_population(1e-5)
    with pytest.raises(ConfigError, match="from 100 µs to 16 s"):
        export.write_nir(own, tmp_path / "d.nir", "rockpool", dt_s=1e-7)
