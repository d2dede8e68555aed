"""ngspice and gnucap, programs that know nothing of us, find what our own integrators find."""

import math

import numpy as np
import pytest

from neurodecorr.circuit import Circuit, PiecewiseConstant, SparseCircuit, TwoPopulationCircuit, integrate
from neurodecorr.export import run_spice, write_spice
from neurodecorr.export.spice import PiecewiseLinear
from neurodecorr.hardware import Amplifier
from neurodecorr.hardware.analogue.equations import ResistorNetwork, closed_loop
from neurodecorr.hardware.devices import Devices

KINDS = ("ota", "crossbar")
# Trapezoids of step h err by (hλ)²/12 · λt e^(−λt) of a mode, at most (hλ)²/33. With h = τ/200 and |λ| ≤ 1.6 that is
# 2e-6, and activities here are below 4.
AT_200 = 1e-5


def circuit_of(n, seed=0, tau=0.02):
    rng = np.random.default_rng(seed)
    return Circuit(np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n), tau), rng.standard_normal(n)


def measured(found, n):
    return np.array([found.measures[f"settled_xbar{i}"] for i in range(n)])


def deviation(found, circuit, x, volts=1.0, seconds=1.0):
    """Largest distance from the exact course at any time; `seconds` per unit of the circuit's time."""
    times = found.t[found.t > 0]
    course = integrate(circuit, x, times[-1] / seconds, "exponential", times=times / seconds)
    return np.abs(found.xbar[found.t > 0] - course.xbar / volts).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 4, 16])
def test_operating_point_time_course_and_measurements_are_those_of_the_circuit(n, kind, simulator, tmp_path):
    circuit, x = circuit_of(n)
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, simulator))
    rest = np.linalg.solve(circuit.R, x)
    np.testing.assert_allclose(found.op, rest, atol=1e-9)
    np.testing.assert_allclose([found.expected[f"xbar{i}"] for i in range(n)], rest, atol=1e-12)
    assert deviation(found, circuit, x) < AT_200
    # The slowest mode has shrunk to 1e-6 of up to 4; ngspice prints seven digits.
    np.testing.assert_allclose(measured(found, n), rest, atol=AT_200)
    np.testing.assert_allclose(measured(found, n), found.xbar[-1], rtol=1e-6, atol=1e-6)
    assert found.simulator == simulator and found.version and found.seconds > 0


def test_a_finer_step_brings_the_course_to_a_tenth_of_a_millionth(ngspice, tmp_path):
    circuit, x = circuit_of(4)
    file = write_spice(circuit, x, tmp_path / "circuit.cir", t_end_s=0.1, step_s=0.02 / 1000)
    assert deviation(run_spice(file), circuit, x) < 1e-7  # 8e-7 at τ/200, and second order


def test_the_error_falls_with_the_square_of_the_step(ngspice, tmp_path):
    circuit, x = circuit_of(3)
    errors = []
    for steps in (100, 200, 400):
        file = write_spice(circuit, x, tmp_path / "circuit.cir", t_end_s=0.06, step_s=0.02 / steps)
        errors.append(deviation(run_spice(file), circuit, x))
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_switches_or_moves_in_lines_is_followed(kind, simulator, tmp_path):
    circuit, _ = circuit_of(4)
    values = np.random.default_rng(5).standard_normal((3, 4))
    # A switch is 1e-7 s long; on the way x̄ is at most that over 8τ, times the jump of x, from its course.
    for x, rtol in ((PiecewiseConstant([0, 0.05, 0.1], values), 1e-6), (PiecewiseLinear([0, 0.05, 0.1], values), 1e-9)):
        options = {"volts_per_unit": 0.2, "t_end_s": 0.14}
        found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, simulator, **options))
        times = found.t[found.t > 0]
        course = integrate(circuit, x, times[-1], "rk45", times=times, rtol=rtol, atol=1e-10)
        assert np.abs(found.xbar[found.t > 0] - course.xbar).max() < 2e-5
        np.testing.assert_allclose(found.op, np.linalg.solve(circuit.R, values[0]), atol=1e-9)
        np.testing.assert_allclose(list(found.expected.values()), np.linalg.solve(circuit.R, values[-1]), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_two_populations_run_with_their_own_time_constants(kind, simulator, tmp_path):
    circuit, x = circuit_of(4)
    pair = TwoPopulationCircuit(circuit.R, 0.02, 0.01)
    found = run_spice(write_spice(pair, x, tmp_path / "circuit.cir", kind, simulator, t_end_s=0.2))
    assert deviation(found, pair, x) < 2e-5
    np.testing.assert_allclose(found.op, np.linalg.solve(circuit.R, x), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("siemens", "volts", "tau_s"), [(1e-10, 0.01, 1e-7), (1e-2, 5.0, 10.0)], ids=["nano", "large"])
def test_accuracy_does_not_hang_on_the_units(kind, siemens, volts, tau_s, simulator, tmp_path):
    circuit, x = circuit_of(4)
    options = {"unit_siemens": siemens, "volts_per_unit": volts, "tau_s": tau_s, "t_end_s": 5 * tau_s}
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, simulator, **options))
    np.testing.assert_allclose(found.op, np.linalg.solve(circuit.R, x), atol=1e-9)
    assert deviation(found, circuit, x, seconds=tau_s / circuit.tau) < AT_200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sides", ["two", "one"])
def test_a_chip_with_mismatch_moves_as_its_own_weights_say(kind, sides, ngspice, tmp_path):
    circuit, x = circuit_of(6)
    pair = Devices(g_min=1e-6, sides=sides, mismatch=0.05).program(circuit.R, rng=1).pair()
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, pair=pair, t_end_s=0.1))
    chip = Circuit(pair.weights(), circuit.tau)
    np.testing.assert_allclose(found.op, np.linalg.solve(chip.R, x), atol=1e-9)
    assert deviation(found, chip, x) < AT_200
    assert np.abs(found.op - np.linalg.solve(circuit.R, x)).max() > 1e-3


@pytest.mark.parametrize(
    "amplifier",
    [Amplifier(gain=100.0), Amplifier(gain=1e3, bandwidth_hz=5e3), Amplifier(gain=1e5, bandwidth_hz=1e5)],
    ids=["gain", "slow", "fast"],
)
def test_amplifiers_with_gain_bandwidth_and_offset_do_what_kirchhoffs_laws_say(amplifier, simulator, tmp_path):
    circuit, x = circuit_of(4)
    offsets = np.random.default_rng(3).normal(0, 5e-3, (2, 4))
    options = {"amplifier": amplifier, "offsets_v": offsets, "t_end_s": 0.1}
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", "crossbar", simulator, **options))
    wires = ResistorNetwork(
        np.maximum(circuit.R, 0), np.maximum(-circuit.R, 0), *offsets, amplifier, amplifier.rate * 0.02, np.ones(4)
    )
    loop = closed_loop(wires, 0.02)
    np.testing.assert_allclose(found.op, np.linalg.solve(loop.A, loop.drive(x[None])[0])[:4], atol=1e-9)
    np.testing.assert_allclose(found.op, list(found.expected.values()), atol=1e-9)
    if np.isinf(amplifier.bandwidth_hz) or simulator == "ngspice":
        # The fastest mode here takes some 1/10⁴ of τ: the first steps are longer than it, and only their end counts.
        late = found.t > 1e-3
        course = integrate(loop, x, found.t[-1], "exponential", times=found.t[late])
        assert np.abs(found.xbar[late] - course.xbar).max() < 2e-5


def test_the_start_is_the_one_given(simulator, tmp_path):
    circuit, x = circuit_of(3)
    initial = [1.0, -2.0, 0.5]
    for kind in KINDS:
        file = write_spice(circuit, x, tmp_path / "circuit.cir", kind, simulator, initial=initial, volts_per_unit=0.3)
        found = run_spice(file)
        times = found.t[found.t > 1e-4]
        course = integrate(circuit, x, times[-1], "exponential", times=times, initial=initial)
        assert np.abs(found.xbar[found.t > 1e-4] - course.xbar).max() < AT_200


def test_a_sparse_circuit_is_the_dense_one_of_the_same_weights(ngspice, tmp_path):
    import scipy.sparse

    circuit, x = circuit_of(8)
    R = np.where(np.abs(circuit.R) > 0.1, circuit.R, 0)
    sparse = SparseCircuit(scipy.sparse.csr_array(R), 0.02)
    found = run_spice(write_spice(sparse, x, tmp_path / "circuit.cir", names=list("abcdEFGH"), t_end_s=0.1))
    np.testing.assert_allclose(found.op, np.linalg.solve(R, x), atol=1e-9)
    assert deviation(found, Circuit(R, 0.02), x) < AT_200
    assert found.nodes["xbar"] == tuple("abcdEFGH") and set(found.measures) == {f"settled_{c}" for c in "abcdefgh"}


def test_the_operating_point_alone_takes_no_time_course(simulator, tmp_path):
    circuit, x = circuit_of(16)
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", simulator=simulator, t_end_s=0))
    np.testing.assert_allclose(found.op, np.linalg.solve(circuit.R, x), atol=1e-9)
    assert found.t.size == 0 and found.xbar.shape == (0, 16) and not found.measures


def test_ngspice_and_gnucap_agree(tmp_path, ngspice):
    import shutil

    if shutil.which("gnucap") is None:
        pytest.skip("gnucap is not installed: apt-get install gnucap")
    circuit, x = circuit_of(4)
    files = [tmp_path / "a.cir", tmp_path / "b.cir"]
    one, other = (
        run_spice(write_spice(circuit, x, file, simulator=name))
        for file, name in zip(files, ("ngspice", "gnucap"), strict=True)
    )
    both = other.t > one.t[0]
    between = np.array([np.interp(other.t[both], one.t, column) for column in one.xbar.T]).T
    assert np.abs(between - other.xbar[both]).max() < 1.5e-5  # lines between points τ/200 apart: (h λ)²/8 of what moves
    np.testing.assert_allclose(one.op, other.op, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [4, 16, 64, 256])
def test_the_operating_point_is_the_inverse_at_every_size(n, kind, simulator, tmp_path):
    if simulator == "gnucap" and n > 64:
        pytest.skip("gnucap takes a minute or more; its numbers stand in the documentation")
    circuit, x = circuit_of(n)
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, simulator, t_end_s=0))
    np.testing.assert_allclose(found.op, np.linalg.solve(circuit.R, x), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [16, 64])
def test_the_time_course_is_that_of_the_circuit_at_every_size(n, kind, ngspice, tmp_path):
    circuit, x = circuit_of(n)
    found = run_spice(write_spice(circuit, x, tmp_path / "circuit.cir", kind, t_end_s=0.2))
    assert deviation(found, circuit, x) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 16])
def test_the_finest_step_is_within_a_hundred_thousandth(n, simulator, tmp_path):
    circuit, x = circuit_of(n)
    file = write_spice(circuit, x, tmp_path / "circuit.cir", simulator=simulator, step_s=2e-5)
    found = run_spice(file)
    assert deviation(found, circuit, x) < 1e-5
    assert math.isclose(found.t[-1], found.t.max())
