"""One circuit, several threads: every answer is the one that a single thread would get, within its bound."""

from importlib import import_module

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

import neurodecorr as nd
from neurodecorr.circuit import sparse_settling
from neurodecorr.circuit.sparse_settling import settle_sparse
from neurodecorr.circuit.spectrum import Spectrum

trajectory = import_module("neurodecorr.circuit.integrate")  # its face hides the module behind the function

settling = import_module("neurodecorr.circuit.settle")  # its face hides the module behind the function

pytestmark = pytest.mark.threads

THREADS = (1, 2, 4, 8)
TURNING = np.array([[0.2, 1, 0, 0], [-1, 0.2, 0, 0], [0, 0, 0.3, 2], [0, 0, -2, 0.3]])


def symmetric(n, rng):
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    R = (Q * np.geomspace(1, 8, n)) @ Q.T
    return (R + R.T) / 2


def tilted(n, rng):
    return symmetric(n, rng) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)


def far(found, rest):
    """Tell which samples are farther from rest than their bound, with room for the rounding of the reference."""
    error = np.linalg.norm(found.xbar - rest, axis=1)
    return error > found.bound + 1e-12 * np.linalg.norm(rest, axis=1)


@pytest.mark.parametrize("R", [TURNING, tilted(40, np.random.default_rng(1))], ids=["4", "40"])
def test_four_hundred_direct_solutions_from_four_threads_are_all_right(together, rng, R):
    circuit, x = nd.Circuit(R), rng.standard_normal((4000, len(R)))
    rest = np.linalg.solve(R, x.T).T

    def wrong(_):
        return bool(far(nd.settle(circuit, x, tol=1e-9, method="direct"), rest).any())

    assert sum(together(wrong, 4, rounds=100)) == 0


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("method", settling.METHODS)
@pytest.mark.parametrize("kind", ["symmetric", "tilted", "two populations", "float32"])
def test_threads_settle_one_circuit_by_every_method(together, rng, kind, method, threads):
    R = (tilted if kind == "tilted" else symmetric)(20, rng)
    circuit = nd.Circuit(R.astype(np.float32) if kind == "float32" else R)
    circuit = circuit.two_population() if kind == "two populations" else circuit
    R = circuit.R.astype(float)
    X = rng.standard_normal((40, 20))
    rest = np.linalg.solve(R, X.T).T

    def settle(k):
        rows = slice(k % 8, None)
        found = nd.settle(circuit, X[rows], 1e-6, method=method)
        return bool(found.settled.all() and not far(found, rest[rows]).any())

    assert all(together(settle, threads, rounds=2))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("method", sparse_settling.SPARSE_METHODS)
def test_threads_settle_one_sparse_circuit_by_every_method(together, rng, method, threads, monkeypatch):
    monkeypatch.setattr("neurodecorr._numerics.sparse.MANY_SYNAPSES", 1000)
    R = scipy.sparse.csr_array(6.0 * scipy.sparse.eye_array(900) - nd.circuit.sparse.grid_neighbours((30, 30), 4))
    circuit, X = nd.SparseCircuit(R), rng.standard_normal((3, 900))
    rest = np.linalg.solve(R.toarray(), X.T).T

    def settle(_):
        found = settle_sparse(circuit, X, 1e-8, method=method)
        return bool(found.settled.all() and not far(found, rest).any())

    assert all(together(settle, threads))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("method", trajectory.METHODS)
def test_threads_integrate_one_circuit_by_every_method(together, rng, method, threads):
    # Large enough for compiled rows on threads, and for a basis of Arnoldi.
    circuit, X = nd.Circuit(tilted(64, rng)), rng.standard_normal((80, 64))
    times = np.array([0.5, 1.0, 2.0])
    exact = np.stack([X @ np.linalg.solve(circuit.R, np.eye(64) - scipy.linalg.expm(-circuit.R * t)).T for t in times])
    dt = 1e-2 if method == "rk4" else None

    def integrate(_):
        return nd.integrate(circuit, X, 2.0, method, times, dt=dt).xbar

    # What a method does to these, alone; Euler's and Radau's own error is no matter of threads.
    alone = nd.integrate(nd.Circuit(circuit.R), X, 2.0, method, times, dt=dt).xbar
    assert np.abs(alone - exact).max() < {"euler": 0.1, "implicit": 1e-2}.get(method, 1e-5)
    assert max(np.abs(found - alone).max() for found in together(integrate, threads)) < 1e-12


@pytest.mark.parametrize("threads", THREADS)
def test_threads_share_what_a_circuit_keeps(together, rng, threads):
    for n in (20, 96):
        circuit, X = nd.Circuit(symmetric(n, rng)), rng.standard_normal((30, n))
        rest = np.linalg.solve(circuit.R, X.T).T

        def settle(k, circuit=circuit, X=X, rest=rest):
            found, alone = nd.settle(circuit, X, 1e-8), nd.settle(circuit, X[k % 30], 1e-8)
            error = np.append(np.linalg.norm(found.xbar - rest, axis=1), np.linalg.norm(alone.xbar - rest[k % 30]))
            bound = np.append(found.bound, alone.bound)
            return bool((error <= bound + 1e-12).all() and bound.max() <= 1e-8 and found.steps[k % 30] == alone.steps)

        assert all(together(settle, threads, rounds=4))


def test_circuits_of_two_types_are_prepared_and_used_at_once(together, rng):
    R, x = symmetric(12, rng), rng.standard_normal(12)
    rest = np.linalg.solve(R, x)

    def settle(k):
        own = nd.Circuit(R.astype((np.float64, np.float32)[k % 2]))
        inputs = (x, x, x.astype(np.float32), x.astype(np.float32), x.tolist(), x[None], np.repeat(x, 2)[::2])
        return max(np.linalg.norm(np.ravel(nd.settle(own, given, 1e-4).xbar) - rest) for given in inputs)

    assert max(together(settle, 8, rounds=4)) < 3e-4


@pytest.mark.parametrize("threads", THREADS)
def test_threads_ask_one_circuit_for_its_facts(together, rng, threads):
    for R in (symmetric(30, rng), tilted(30, rng), TURNING):
        for circuit in (nd.Circuit(R), nd.Circuit(R).two_population()):
            values = np.linalg.eigvals(circuit.rates[:, None] * circuit.matrix)
            for found in together(lambda _, circuit=circuit: nd.stability(circuit), threads):
                assert np.isclose(found.margin, values.real.min(), rtol=1e-9, atol=0)


def test_what_a_circuit_keeps_cannot_be_written(rng):
    narrow = nd.Circuit(symmetric(6, rng).astype(np.float32))
    for circuit in (
        nd.Circuit(tilted(6, rng)),
        narrow,
        narrow.two_population(),
        nd.Circuit(TURNING).two_population(2.0),
    ):
        nd.settle(circuit, np.ones(circuit.size))
        names = ("R", "matrix", "rates", "flow", "wide", "panels")
        kept = [getattr(circuit, name) for name in names]
        kept += [spectrum.eigenvalues for spectrum in (circuit.spectrum, circuit.weights_spectrum)]
        kept += [part for part in vars(circuit.factors).values() if isinstance(part, np.ndarray)]
        kept += [Spectrum(circuit.wide).flow]
        assert not [array for array in kept if array.flags.writeable]
