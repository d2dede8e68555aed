"""The circuit in volts and seconds: ideal parts give the circuit of the theory, real parts what Kirchhoff says."""

import math

import numpy as np
import pytest
import scipy.integrate

import neurodecorr as nd
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.hardware.analogue import Amplifier, AnalogueCircuit
from neurodecorr.hardware.devices import Converter, Devices

REAL = Amplifier(gain=300.0, bandwidth_hz=2e5, offset_v=2e-3)


def lateral(n, seed=0):
    """A stable R that is neither symmetric nor normal."""
    rng = np.random.default_rng(seed)
    return np.eye(n) * 1.5 + rng.standard_normal((n, n)) * 0.5 / math.sqrt(n)


def inputs(n, samples=5, seed=1):
    return np.random.default_rng(seed).standard_normal((samples, n))


@pytest.mark.parametrize("n", [4, 16, 64])
@pytest.mark.parametrize("sides", ["two", "one"])
def test_ideal_parts_are_the_plain_circuit(n, sides):
    R, X = lateral(n), inputs(n)
    plain = nd.Circuit(R, tau=1e-3)
    chip = AnalogueCircuit.build(plain, Devices(sides=sides, g_min=1e-6))
    # Rounding of a conductance pair, 1e-16 of g_max, times the condition of R, below 30 here.
    np.testing.assert_allclose(chip.settle(X).xbar, nd.settle(plain, X, tol=1e-13).xbar, atol=1e-12)
    np.testing.assert_allclose(
        chip.integrate(X, 4e-3).xbar, nd.integrate(plain, X, 4e-3, "exponential").xbar, atol=1e-12
    )
    assert chip.stability().margin == pytest.approx(nd.stability(plain).margin, abs=1e-12)
    assert chip.tau_s == pytest.approx(1e-3, rel=1e-12)


def test_an_ideal_open_loop_gives_m_x_at_once():
    M, X = np.linalg.inv(lateral(16)), inputs(16)
    chip = AnalogueCircuit.build(M, form="open")
    np.testing.assert_allclose(chip.settle(X).xbar, X @ M.T, atol=1e-12)
    assert chip.energy(X).settling_s == 0
    with pytest.raises(ConfigError, match="answers at once"):
        chip.integrate(X, 1.0)


def test_offsets_move_the_outputs_by_the_closed_form():
    n, v = 8, 3e-3
    R, X = lateral(n), inputs(n)
    built = AnalogueCircuit.build(R)
    offsets = v * np.random.default_rng(2).standard_normal(n)
    chip = AnalogueCircuit(built.plus, built.minus, built.unit_siemens, built.capacitance_f, offsets_v=offsets)
    # x̄ = M(x + v_os(1 + ∑_j |R_ij|)), exact for ideal gain and g_min = 0.
    x = X + offsets / chip.volts_per_unit * (1 + np.abs(R).sum(axis=1))
    np.testing.assert_allclose(chip.settle(X).xbar, np.linalg.solve(R, x.T).T, atol=1e-12)


def nodes_over_time(chip, x, t):
    """Integrate every node by Kirchhoff's laws, wire by wire: the slow way."""
    n, G0, C, amp = len(x), chip.unit_siemens, chip.capacitance_f, chip.amplifier

    def slope(_, z):
        o, q, w = z[:n], z[n : 2 * n], z[2 * n :]
        e, dq, do, dw = o - q, np.empty(n), np.empty(n), np.empty(n)
        for i in range(n):
            current = G0 * (-x[i] - e[i])
            for j in range(n):
                current += chip.plus[i, j] * (o[j] - e[i]) + chip.minus[i, j] * (w[j] - e[i])
            dq[i] = -current / C
            do[i] = amp.rate * (chip.offsets_v[i] - e[i] - o[i] / amp.gain)
            dw[i] = amp.rate * (chip.inverter_offsets_v[i] - (o[i] + w[i]) / 2 - w[i] / amp.gain)
        return np.concatenate([do, dq, dw])

    start = chip.loop.state(np.zeros((1, n)))[0]
    return scipy.integrate.solve_ivp(slope, (0, t[-1]), start, "LSODA", t, rtol=1e-9, atol=1e-12).y[:n].T


def test_real_amplifiers_follow_kirchhoff_from_node_to_node():
    chip = AnalogueCircuit.build(lateral(4), Devices(mismatch=0.05, g_min=1e-6), REAL, rng=3, tau_s=1e-4)
    x, t = inputs(4)[0], np.linspace(0, 5e-4, 21)
    slow = nodes_over_time(chip, chip.volts_per_unit * x, t)
    # The tolerance of the integrator, on voltages of about 0.1.
    np.testing.assert_allclose(chip.integrate(x, t[-1], t).volts, slow, atol=2e-8)


@pytest.mark.parametrize("form", ["closed", "open"])
def test_the_rest_point_is_where_the_amplifiers_come_to_rest(form):
    chip = AnalogueCircuit.build(lateral(8), Devices(mismatch=0.05), REAL, rng=3, tau_s=1e-4, form=form)
    X, margin = inputs(8), chip.stability().margin
    ended = chip.integrate(X, 40 * chip.tau_s / margin).xbar[-1]  # e⁻⁴⁰ = 4e-18 of the way is left
    np.testing.assert_allclose(ended, chip.settle(X).xbar, atol=1e-12)


def test_a_function_of_time_and_its_steps_are_one_input():
    chip = AnalogueCircuit.build(lateral(4), amplifier=Amplifier(gain=100.0), tau_s=1e-3)
    x = inputs(4, 2)
    steps = nd.circuit.PiecewiseConstant([0.0, 1e-3], x[:, None])
    exact = chip.integrate(steps, 3e-3, [1e-3, 3e-3]).xbar[:, 0]
    first = chip.integrate(lambda t: x[0], 1e-3, [1e-3]).xbar[0]
    np.testing.assert_allclose(first, exact[0], atol=1e-5)
    second = chip.integrate(lambda t: x[1], 2e-3, [2e-3], initial=exact[0]).xbar[0]
    np.testing.assert_allclose(second, exact[1], atol=1e-5)


def gain_errors(form, gains):
    W, X = lateral(8), inputs(8)
    W = W if form == "closed" else np.linalg.inv(W)
    ideal = AnalogueCircuit.build(W, Devices(g_min=1e-6), form=form).settle(X).xbar
    chips = [AnalogueCircuit.build(W, Devices(g_min=1e-6), Amplifier(gain=gain), form=form) for gain in gains]
    return [chip.settle(X).xbar - ideal for chip in chips]


@pytest.mark.parametrize("form", ["closed", "open"])
def test_finite_gain_costs_in_proportion_to_its_inverse(form):
    first, second = (np.linalg.norm(error) for error in gain_errors(form, [1e5, 1e6]))
    assert first / second == pytest.approx(10, rel=1e-3)


def turning(margin=0.05, turn=2.0):
    return np.array([[margin, -turn], [turn, margin]])


def test_amplifiers_that_are_too_slow_make_a_stable_circuit_oscillate():
    R, X = turning(), np.ones((1, 2))
    fast, slow = (AnalogueCircuit.build(R, amplifier=Amplifier(bandwidth_hz=f), tau_s=1e-6) for f in (1e9, 1e7))
    assert AnalogueCircuit.build(R, tau_s=1e-6).stability().margin == pytest.approx(0.05)
    assert fast.stability().stable and not slow.stability().stable
    with pytest.raises(StabilityError, match="faster amplifiers"):
        slow.settle(X)
    with pytest.raises(StabilityError):
        slow.integrate(X, 1e-5)


@pytest.mark.parametrize("R", [turning(0.5), lateral(6)], ids=["turning", "lateral"])
def test_the_margin_moves_as_the_first_order_in_the_lag_says(R):
    found = []
    for r in (1e4, 1e5):
        chip = AnalogueCircuit.build(R, amplifier=Amplifier(bandwidth_hz=r / (2 * math.pi)))
        network = chip.network
        lag = np.diag(network.load) + 2 * network.N - R
        first = np.linalg.eigvals((np.eye(len(R)) - lag / r) @ R).real.min()
        found.append(abs(chip.stability().margin - first))
    # What is left is of second order: a hundredth for ten times the speed.
    assert found[0] < 2e-5 and found[0] / found[1] > 50


def test_what_turns_to_heat_is_what_the_sources_deliver():
    chip = AnalogueCircuit.build(lateral(4), Devices(g_min=1e-6), REAL, rng=1, tau_s=1e-4)
    x = inputs(4)[0]
    o, v = chip.settle(x).volts, -chip.volts_per_unit * x
    w = (2 * chip.inverter_offsets_v - o) / (1 + 2 / REAL.gain)
    e = chip.offsets_v - o / REAL.gain
    delivered = 0.0
    for i in range(4):
        for source, G in ((v[i], chip.unit_siemens),):
            delivered += G * (source - e[i]) * source
        for j in range(4):
            delivered += chip.plus[i, j] * (o[j] - e[i]) * o[j] + chip.minus[i, j] * (w[j] - e[i]) * w[j]
    # No current enters the amplifiers' inputs: what the sources deliver is all that there is.
    assert chip.energy(x).array_w == pytest.approx(delivered, rel=1e-9)


def test_energy_is_power_times_settling_time():
    amplifier = Amplifier(gain=1e4, bandwidth_hz=1e8, bias_a=2e-6, supply_v=1.8)
    chip = AnalogueCircuit.build(lateral(4), amplifier=amplifier, tau_s=1e-6)
    energy = chip.energy(inputs(4), accuracy=1e-2)
    assert energy.amplifiers_w == pytest.approx(8 * 2e-6 * 1.8)
    assert energy.settling_s == pytest.approx(math.log(100) / chip.stability().margin * 1e-6)
    assert energy.joules == pytest.approx((energy.array_w + energy.amplifiers_w) * energy.settling_s)
    assert (energy.devices, energy.amplifiers) == (32, 8)


# Rails.


def test_a_swing_that_is_not_met_changes_nothing():
    R, X = lateral(6), inputs(6)
    free, railed = (AnalogueCircuit.build(R, amplifier=Amplifier(gain=1e3, swing_v=swing)) for swing in (math.inf, 2.0))
    np.testing.assert_array_equal(free.settle(X).xbar, railed.settle(X).xbar)
    found = railed.integrate(X, 3.0)
    assert not found.saturated
    np.testing.assert_array_equal(found.volts, free.integrate(X, 3.0).volts)


@pytest.mark.parametrize("bandwidth", [math.inf, 1e5], ids=["at once", "with a pole"])
def test_at_the_rails_the_circuit_ends_where_it_rests(bandwidth):
    amplifier = Amplifier(gain=1e3, bandwidth_hz=bandwidth, swing_v=0.04, offset_v=1e-3)
    chip = AnalogueCircuit.build(lateral(4), amplifier=amplifier, rng=1, tau_s=1e-3)
    X = inputs(4, 2)
    rest, found = chip.settle(X), chip.integrate(X, 30e-3)
    assert rest.saturated.all() and found.saturated
    assert np.abs(found.volts).max() <= 0.04
    np.testing.assert_allclose(found.volts[-1], rest.volts, atol=1e-8)


def test_at_the_rails_the_way_is_that_of_small_steps():
    chip = AnalogueCircuit.build(lateral(4), amplifier=Amplifier(gain=1e3, swing_v=0.04), tau_s=1.0)
    x, network, h = 0.1 * inputs(4)[0], chip.network, 1e-3
    q, way = np.zeros(4), []
    for _ in range(2000):
        o = np.clip(q / 1.001, -0.04, 0.04)
        w = np.clip(-o / 1.002, -0.04, 0.04)
        q = q + h * (x + network.load * (o - q) - network.P @ o - network.N @ w)
        way.append(np.clip(q / 1.001, -0.04, 0.04))
    found = chip.integrate(x / 0.1, 2.0, [0.5, 1.0, 2.0]).volts
    assert np.abs(found).max() == 0.04
    np.testing.assert_allclose(found, np.array(way)[[499, 999, 1999]], atol=1e-4)  # Euler's first order: h/2 ‖q̈‖


def test_an_open_loop_at_its_rails_is_cut_off_and_has_no_way_there():
    M, X = np.linalg.inv(lateral(4)), inputs(4)
    amplifier = Amplifier(bandwidth_hz=1e6, swing_v=0.05)
    chip = AnalogueCircuit.build(M, amplifier=amplifier, form="open", tau_s=1e-6)
    network, x = chip.network, 0.1 * X
    inverted = np.clip(x, -0.05, 0.05)  # the inverters, too, stay within their swing
    expected = np.clip(x @ network.P.T - inverted @ network.N.T, -0.05, 0.05)
    found = chip.settle(X)
    assert found.saturated.any()
    np.testing.assert_allclose(found.volts[found.saturated], expected[found.saturated], atol=1e-15)
    with pytest.raises(ConfigError, match="must stay within its swing"):
        chip.integrate(X, 1e-5)


def test_at_the_rails_pieces_and_functions_of_time_are_one_input():
    chip = AnalogueCircuit.build(lateral(4), amplifier=Amplifier(gain=1e3, swing_v=0.04), tau_s=1e-3)
    x, t = inputs(4, 2), [0.5e-3, 1e-3, 2e-3, 3e-3]
    steps = chip.integrate(nd.circuit.PiecewiseConstant([0.0, 1e-3], x), 3e-3, t)
    assert steps.saturated
    first = chip.integrate(lambda now: x[0], 1e-3, t[:2])
    np.testing.assert_allclose(first.volts, steps.volts[:2], atol=1e-7)
    # A rail hides the capacitor behind it, so the second piece is not that of a new start: only its end is.
    np.testing.assert_allclose(chip.integrate(x[1], 60e-3).volts[-1], chip.settle(x[1]).volts, atol=1e-8)


def test_converters_stand_at_the_door():
    R, X = lateral(4), inputs(4)
    devices = Devices(dac=Converter(4, 0.2), adc=Converter(5, 0.2))
    chip = AnalogueCircuit.build(R, devices)
    x = devices.dac(0.1 * X) / 0.1
    np.testing.assert_allclose(chip.settle(X).xbar, devices.adc(0.1 * np.linalg.solve(R, x.T).T) / 0.1, atol=1e-12)


def test_wires_act_on_the_weights_of_the_chip():
    R, devices = lateral(6), Devices(wire_resistance_ohm=5.0)
    chip = AnalogueCircuit.build(R, devices, rng=4)
    np.testing.assert_allclose(chip.weights, devices.program(R, 0).weights(), atol=1e-12)


@pytest.mark.parametrize(("sides", "devices"), [("two", 2 * 6 * 6), ("one", 6 * 6 + 6)])
def test_devices_are_counted_as_they_are_manufactured(sides, devices):
    made = Devices(sides=sides, mismatch=0.05, wire_resistance_ohm=2.0)
    chip = AnalogueCircuit.build(lateral(6), made)
    assert chip.energy(inputs(6)).devices == devices == made.program(lateral(6), 0).conductances.size


# Bad input.


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: AnalogueCircuit.build([[1.0, 2.0]]), InputError, "square"),
        (lambda: AnalogueCircuit([[-1.0]], [[0.0]], 1e-6, 1e-9), InputError, "conductances ≥ 0 S"),
        (lambda: AnalogueCircuit([[1.0]], np.zeros((2, 2)), 1e-6, 1e-9), InputError, "one shape"),
        (lambda: AnalogueCircuit([[25.0]], [[0.0]], 25.0, 1e-9), InputError, "plus must be in siemens, at most 1 S"),
        (
            lambda: AnalogueCircuit(np.eye(2), np.eye(2), 1.0, 1e-9, sides="one"),
            InputError,
            "row 1 differs from row 0",
        ),
        (lambda: AnalogueCircuit([[1.0]], [[0.0]], 0.0, 1e-9), ConfigError, "unit_siemens must be > 0 (siemens)"),
        (lambda: AnalogueCircuit([[1.0]], [[0.0]], 1.0, 1e-9, offsets_v=[1, 2]), InputError, "must have the shape"),
        (lambda: AnalogueCircuit.build([[1.0]], form="opened"), ConfigError, "Did you mean 'open'?"),
        (lambda: AnalogueCircuit.build([[1.0]], "pcm"), ConfigError, "devices must be Devices, such as preset('pcm')"),
        (lambda: AnalogueCircuit.build([[1.0]], amplifier=1e4), ConfigError, "amplifier must be an Amplifier"),
        (lambda: AnalogueCircuit.build([[1.0]]).energy([1.0], 2.0), ConfigError, "accuracy must lie between 0 and 1"),
        (lambda: AnalogueCircuit.build([[1.0]], tau_s=0), ConfigError, "tau_s must be > 0 (seconds)"),
        (lambda: AnalogueCircuit.build([[-1.0]]).settle([1.0]), StabilityError, "min Re λ > 0"),
        (lambda: AnalogueCircuit.build([[1.0]]).settle([1.0, 2.0]), InputError, "1 features"),
        (lambda: Amplifier(gain=0), ConfigError, "gain must be a number > 0 (V/V)"),
        (lambda: Amplifier(gain=math.nan), ConfigError, "gain must be a number"),
        (lambda: Amplifier(offset_v=-1e-3), ConfigError, "offset_v must be a number ≥ 0 (V)"),
        (lambda: Amplifier(bias_a=math.inf), ConfigError, "bias_a must be finite"),
    ],
)
def test_bad_input_is_told_what_must_hold(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    assert words in str(caught.value)
