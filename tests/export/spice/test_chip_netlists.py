"""The netlist of a chip is that chip: Kirchhoff's laws of its text, and two simulators, give what the chip gives."""

import math
from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.circuit import PiecewiseConstant
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export import run_spice, write_spice
from neurodecorr.export.spice import PiecewiseLinear
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.hardware.analogue import Amplifier, AnalogueCircuit, simulate_chips
from neurodecorr.hardware.devices import Converter, Devices

FORMS = ("closed", "open")
SLOW = Amplifier(gain=500.0, bandwidth_hz=5e5, offset_v=2e-3)


def weights(n):
    """Weights of both signs, not symmetric, so that a transposition shows."""
    return 1.5 * np.eye(n) + 0.5 * np.random.default_rng(n).standard_normal((n, n)) / math.sqrt(n)


def chip_of(n, amplifier=None, form="closed", sides="two", rng=3, **options):
    devices = Devices(g_min=1e-6, sides=sides, mismatch=0.05, **options)
    return AnalogueCircuit.build(weights(n), devices, amplifier, rng, form=form, tau_s=1e-4)


def inputs(n):
    return np.random.default_rng(100 + n).standard_normal(n)


def lines_of(text):
    """Return the cards of a netlist, each on one line."""
    return text.replace("\n+", "").splitlines()


def volts(text, n):
    """Return the outputs at rest, by modified nodal analysis of the R, G, E and V cards; capacitors carry nothing."""
    cards = [line.split() for line in lines_of(text) if line[:1] in "RGEV"]
    ends = [card[1:5] if card[0][0] in "GE" else card[1:3] for card in cards]
    at = {name: k for k, name in enumerate(sorted({name for group in ends for name in group} - {"0"}))}
    branches = {card[0]: len(at) + k for k, card in enumerate(card for card in cards if card[0][0] in "EV")}
    ground = len(at) + len(branches)  # the last row and column, dropped at the end
    A, b = np.zeros((ground + 1, ground + 1)), np.zeros(ground + 1)
    for card, group in zip(cards, ends, strict=True):
        p, q, *sensed = (at.get(name, ground) for name in group)
        if card[0][0] in "RG":
            c, d = sensed or (p, q)
            g = float(card[5]) if sensed else 1 / float(card[3])
            A[[p, p, q, q], [c, d, c, d]] += [g, -g, -g, g]
            continue
        k = branches[card[0]]
        A[[p, q, k, k], [k, k, p, q]] += [1, -1, 1, -1]
        if sensed:
            A[[k, k], sensed] += [-float(card[5]), float(card[5])]
        else:
            b[k] = float(card[4])
    found = np.linalg.solve(A[:ground, :ground], b[:ground])
    return np.array([found[at[f"xbar{i}"]] for i in range(n)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize(
    "amplifier", [Amplifier(), Amplifier(gain=200.0, offset_v=3e-3), SLOW], ids=["ideal", "at-once", "pole"]
)
def test_kirchhoffs_laws_of_the_text_give_the_rest_of_the_chip(form, sides, amplifier):
    chip, x = chip_of(6, amplifier, form, sides), inputs(6)
    deck = netlist(chip, x)
    rest = chip.settle(x)
    # An ideal amplifier is written as a gain of 1e12; rounding of a system with such entries costs some of it.
    np.testing.assert_allclose(volts(deck.text(), 6), rest.volts, atol=1e-10)
    np.testing.assert_allclose([probe.expected for probe in deck.probes], rest.xbar, rtol=1e-12)
    nominal = np.linalg.solve(weights(6), x) if form == "closed" else weights(6) @ x
    assert np.abs(rest.xbar - nominal).max() > 1e-3


@pytest.mark.parametrize("sides", ["two", "one"])
def test_every_device_of_the_chip_stands_in_the_file_to_the_last_bit(sides):
    chip = chip_of(5, sides=sides, stuck_off=0.1, wire_resistance_ohm=2.0)
    cards = {line.split()[0]: line.split() for line in lines_of(netlist(chip, inputs(5)).text())}
    for name, G in (("Rp", chip.plus), ("Rn", chip.minus)):
        written = {key: float(card[3]) for key, card in cards.items() if key.startswith(name)}
        assert written == {f"{name}{i}_{j}": 1 / G[i, j] for i in range(5) for j in range(5) if G[i, j] > 0}
    assert all(float(cards[f"C{i}"][3]) == pytest.approx(chip.capacitance_f, rel=1e-15) for i in range(5))


@pytest.mark.parametrize("form", FORMS)
def test_the_chip_of_a_population_can_be_written_by_its_number(form):
    x, devices, amplifier = inputs(6), Devices(mismatch=0.05), Amplifier(gain=1e3, offset_v=1e-3)
    many = simulate_chips(weights(6), x[None], devices, amplifier, 4, seed=7, form=form)
    rng = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(3,)))
    chip = AnalogueCircuit.build(weights(6), devices, amplifier, rng, form=form)
    found = volts(netlist(chip, x).text(), 6) / chip.volts_per_unit
    ideal = np.linalg.solve(weights(6), x) if form == "closed" else weights(6) @ x
    assert np.linalg.norm(found - ideal) / np.linalg.norm(ideal) == pytest.approx(many.error[3], rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_operating_point_that_a_simulator_finds_is_the_rest_of_the_chip(form, simulator, tmp_path):
    chip, x = chip_of(8, Amplifier(gain=300.0, offset_v=3e-3), form, "one"), inputs(8)
    found = run_spice(write_spice(chip, x, tmp_path / "chip.cir", simulator=simulator, t_end_s=0))
    np.testing.assert_allclose(found.op, chip.settle(x).xbar, atol=1e-10)
    np.testing.assert_allclose([found.expected[f"xbar{i}"] for i in range(8)], chip.settle(x).xbar, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sides", ["two", "one"])
def test_the_course_that_ngspice_finds_is_that_of_the_chip(form, sides, ngspice, tmp_path):
    chip, x = chip_of(4, SLOW, form, sides), inputs(4)
    # Trapezoids of step h err by at most (hλ)²/33 of a mode: 1e-7 at λ ≤ ω/2 = 1.6e6 /s and 1 ns. At 20 ns the modes of
    # the amplifiers, small in a closed loop, err by 3e-5 of their share; measured 3e-7 in all.
    end, step = (2e-4, 2e-8) if form == "closed" else (1e-5, 1e-9)
    found = run_spice(write_spice(chip, x, tmp_path / "chip.cir", t_end_s=end, step_s=step))
    times = found.t[found.t > 0]
    course = chip.integrate(x, times[-1], times).xbar
    assert np.abs(found.xbar[found.t > 0] - course).max() < 2e-6 * np.abs(course).max()
    assert np.abs(course[0] - course[-1]).max() > 0.1  # it does move


def test_amplifiers_that_follow_at_once_leave_a_course_too(ngspice, tmp_path):
    chip, x = chip_of(4, Amplifier(gain=200.0, offset_v=2e-3)), inputs(4)
    start = np.array([0.5, -1.0, 0.0, 2.0])
    drive = PiecewiseConstant([0.0, 3e-4], np.stack([x, -x]))
    found = run_spice(write_spice(chip, drive, tmp_path / "chip.cir", t_end_s=6e-4, step_s=1e-7, initial=start))
    times = found.t[found.t > 0]
    course = chip.integrate(drive, times[-1], times, initial=start).xbar
    # Trapezoids of τ/1000, and a switch that takes a thousandth of a step.
    assert np.abs(found.xbar[found.t > 0] - course).max() < 2e-5 * np.abs(course).max()


def test_an_open_loop_of_ideal_amplifiers_has_no_course_but_that_of_its_input(tmp_path):
    chip, x = chip_of(3, form="open"), inputs(3)
    assert ".tran" not in netlist(chip, x).text()
    moving = netlist(chip, PiecewiseConstant([0.0, 1e-3], np.stack([x, 2 * x])))
    assert moving.run.stop_s == pytest.approx(1e-3 + math.log(1e6) * chip.tau_s)
    np.testing.assert_allclose([probe.expected for probe in moving.probes], chip.settle(2 * x).xbar)


def test_a_dac_acts_on_the_sources_and_an_adc_is_left_to_the_reader():
    devices = Devices(dac=Converter(4, 0.3), adc=Converter(3, 0.3))
    chip, x = AnalogueCircuit.build(weights(4), devices), inputs(4)
    text = netlist(chip, x).text()
    driven = [float(line.split()[4]) for line in lines_of(text) if line.startswith("V")]
    np.testing.assert_allclose(driven, -devices.dac(0.1 * x), rtol=1e-15)
    np.testing.assert_allclose(volts(text, 4), chip.settle(x).volts, atol=1e-10)
    assert "* converters = DAC in the sources, ADC left out" in text
    with pytest.raises(ConfigError, match="use PiecewiseConstant"):
        netlist(chip, PiecewiseLinear([0.0, 1.0], np.stack([x, x])))


@pytest.mark.parametrize("form", FORMS)
def test_a_chip_that_would_meet_its_rails_is_refused_and_one_that_does_not_is_written(form):
    chip, x = chip_of(4, SLOW, form), inputs(4)
    reach = np.abs(chip.integrate(x, 1e-3).volts).max()
    narrow, wide = (replace(chip, amplifier=replace(SLOW, swing_v=share * reach)) for share in (0.8, 5.0))
    assert netlist(wide, x).cards == netlist(chip, x).cards
    with pytest.raises(ConfigError, match="must stay within the swing"):
        netlist(narrow, x)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda file: write_spice(weights(3), inputs(3), file), InputError, r"or AnalogueCircuit[.]build"),
        (lambda file: write_spice(chip_of(3), inputs(3), file, "crossbar"), ConfigError, "kind must be left out"),
        (lambda file: write_spice(chip_of(3), inputs(2), file), InputError, r"shape \(3,\)"),
        (
            lambda file: write_spice(chip_of(3), inputs(3), file, initial=[1.0]),
            InputError,
            "initial must have the shape",
        ),
        (
            lambda file: write_spice(chip_of(3), inputs(3), file, simulator="spice"),
            ConfigError,
            "Did you mean 'ngspice'",
        ),
        (lambda file: write_spice(chip_of(3), inputs(3), file, names=["a"]), InputError, "must hold 3 names"),
        (
            lambda file: write_spice(AnalogueCircuit.build([[-1.0]]), [1.0], file),
            StabilityError,
            "closed loop must be stable",
        ),
    ],
    ids=["matrix", "wrong-door", "inputs", "initial", "simulator", "names", "unstable"],
)
def test_nothing_is_written_where_something_is_wrong(make, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        make(tmp_path / "chip.cir")
    assert not list(tmp_path.iterdir())
