"""Kirchhoff's laws of the text of a netlist give the rest of its circuit or chip; what cannot be one is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from neurodecorr.circuit import Circuit, PiecewiseConstant, SparseCircuit, TwoPopulationCircuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError, StabilityError
from neurodecorr.export import run_spice, write_spice
from neurodecorr.export.spice import PiecewiseLinear
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.hardware.analogue import Amplifier, AnalogueCircuit, simulate_chips
from neurodecorr.hardware.devices import Converter, Devices, map_to_conductances


def circuit_of(n, seed=0, tau=0.02):
    """A circuit that is not symmetric, so that a transposition shows."""
    rng = np.random.default_rng(seed)
    return Circuit(np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n), tau), rng.standard_normal(n)


def lines_of(text):
    """Return the cards of a netlist, each on one line."""
    return text.replace("\n+", "").splitlines()


def kirchhoff(text):
    """Solve the operating point of R, G, E, I and V cards by modified nodal analysis; return node → volts."""
    cards = [line.split() for line in lines_of(text) if line[:1] in "RGEIV"]
    names = [card[1:3] + (card[3:5] if card[0][0] in "GE" else []) for card in cards]
    nodes = sorted({name for group in names for name in group} - {"0"})
    at = {name: k for k, name in enumerate(nodes)}
    branches = [card[0] for card in cards if card[0][0] in "EV"]
    size = len(nodes) + len(branches)
    A, b = np.zeros((size + 1, size + 1)), np.zeros(size + 1)  # the last row and column are ground
    place = {**at, "0": size}
    for card in cards:
        p, q = place[card[1]], place[card[2]]
        if card[0][0] == "R":
            g = 1 / float(card[3])
            A[[p, q, p, q], [p, q, q, p]] += [g, g, -g, -g]
        elif card[0][0] == "G":
            c, d, g = place[card[3]], place[card[4]], float(card[5])
            A[[p, p, q, q], [c, d, c, d]] += [g, -g, -g, g]
        elif card[0][0] == "I":
            b[[p, q]] += [-float(card[4]), float(card[4])]
        else:
            k = len(nodes) + branches.index(card[0])
            A[[p, q, k, k], [k, k, p, q]] += [1, -1, 1, -1]
            if card[0][0] == "E":
                c, d, gain = place[card[3]], place[card[4]], float(card[5])
                A[[k, k], [c, d]] += [-gain, gain]
            else:
                b[k] = float(card[4])
    found = np.linalg.solve(A[:size, :size], b[:size])
    return dict(zip(nodes, found, strict=False))


def outputs(text, n, names=None):
    found = kirchhoff(text)
    return np.array([found[name] for name in (names or [f"xbar{i}" for i in range(n)])])


@pytest.mark.parametrize("n", [1, 4, 16])
@pytest.mark.parametrize(("kind", "atol"), [("ota", 1e-13), ("crossbar", 1e-9)])
def test_kirchhoffs_laws_of_the_written_elements_give_the_inverse(n, kind, atol):
    # An ideal amplifier is written as a gain of 1e12; rounding of a system with such entries costs some of it.
    circuit, x = circuit_of(n)
    text = netlist(circuit, x, kind).text()
    np.testing.assert_allclose(outputs(text, n), np.linalg.solve(circuit.R, x), atol=atol)


@pytest.mark.parametrize("kind", ["ota", "crossbar"])
def test_two_populations_settle_where_one_does(kind):
    circuit, x = circuit_of(4)
    text = netlist(TwoPopulationCircuit(circuit.R, 0.02, 0.005), x, kind).text()
    np.testing.assert_allclose(outputs(text, 4), np.linalg.solve(circuit.R, x), atol=1e-9)


def test_a_sparse_circuit_has_one_transconductor_per_synapse():
    circuit, x = circuit_of(8)
    R = np.where(np.abs(circuit.R) > 0.1, circuit.R, 0)
    text = netlist(SparseCircuit(scipy.sparse.csr_array(R), 0.02), x).text()
    assert sum(line.startswith("G") for line in lines_of(text)) == np.count_nonzero(R)
    np.testing.assert_allclose(outputs(text, 8), np.linalg.solve(R, x), atol=1e-13)


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("kind", ["ota", "crossbar"])
def test_the_netlist_of_a_chip_settles_where_its_own_weights_say(kind, sides):
    circuit, x = circuit_of(6)
    pair = Devices(g_min=1e-6, sides=sides, mismatch=0.05, bits=6).program(circuit.R, rng=1).pair()
    deck = netlist(circuit, x, kind, pair=pair)
    expected = np.linalg.solve(pair.weights(), x)
    np.testing.assert_allclose([probe.expected for probe in deck.probes], expected, rtol=1e-9)
    np.testing.assert_allclose(outputs(deck.text(), 6), expected, atol=1e-9)
    assert np.abs(expected - np.linalg.solve(circuit.R, x)).max() > 1e-3


def test_finite_gain_and_offsets_move_the_rest_to_where_the_head_says():
    circuit, x = circuit_of(5)
    offsets = np.random.default_rng(2).normal(0, 2e-3, (2, 5))
    deck = netlist(circuit, x, "crossbar", amplifier=Amplifier(gain=200.0), offsets_v=offsets, volts_per_unit=0.5)
    expected = np.array([probe.expected for probe in deck.probes])
    np.testing.assert_allclose(outputs(deck.text(), 5) / 0.5, expected, rtol=1e-12)
    assert np.abs(expected - np.linalg.solve(circuit.R, x)).max() > 1e-2


def test_offset_alone_adds_to_the_drive_as_often_as_there_are_conductances_at_the_node():
    # x̄ = M (x + v_os (1 + ∑_j |R_ij|)), ideal inverters
    circuit, x = circuit_of(5)
    offset = np.full(5, 3e-3)
    deck = netlist(circuit, x, "crossbar", offsets_v=offset)
    expected = np.linalg.solve(circuit.R, x + offset * (1 + np.abs(circuit.R).sum(axis=1)))
    np.testing.assert_allclose([probe.expected for probe in deck.probes], expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["ota", "crossbar"])
def test_conductances_voltages_and_seconds_are_those_asked_for(kind):
    circuit, x = circuit_of(3, tau=4.0)
    deck = netlist(circuit, x, kind, unit_siemens=2e-9, volts_per_unit=0.1, tau_s=1e-3)
    lines = lines_of(deck.text())
    assert "* tau_s = 0.001" in lines and "* siemens_per_weight = 2e-09" in lines and "* volts_per_unit = 0.1" in lines
    np.testing.assert_allclose(outputs(deck.text(), 3) / 0.1, np.linalg.solve(circuit.R, x), atol=1e-9)
    capacitors = [float(line.split()[3]) for line in lines if line.startswith("C")]
    np.testing.assert_allclose(capacitors, 1e-3 * 2e-9)


def test_every_unit_is_saved_and_measured_at_the_end(tmp_path):
    circuit, x = circuit_of(40)
    file = write_spice(circuit, x, tmp_path / "circuit.cir", t_end_s=0.1, step_s=3e-4)
    text = file.read_text(encoding="ascii")
    assert max(len(line) for line in text.splitlines()) <= 130
    lines = lines_of(text)
    (saved,) = [line for line in lines if line.startswith(".save")]
    assert saved.split()[1:] == [f"v(xbar{i})" for i in range(40)]
    measured = [line for line in lines if line.startswith(".measure")]
    assert measured == [f".measure tran settled_xbar{i} find v(xbar{i}) at=0.1" for i in range(40)]
    assert lines[-1] == ".end" and lines[0].startswith("* neurodecorr: ")
    (transient,) = [line.split() for line in lines if line.startswith(".tran")]
    # The end is a whole number of steps, none longer than asked for.
    assert float(transient[1]) <= 3e-4 and float(transient[2]) / float(transient[1]) == pytest.approx(334)


def test_without_a_transient_there_is_only_the_operating_point():
    circuit, x = circuit_of(2)
    for simulator in ("ngspice", "gnucap"):
        text = netlist(circuit, x, simulator=simulator, t_end_s=0).text()
        assert ".op" in text and ".tran" not in text and ".measure" not in text


def test_the_default_end_lets_the_slowest_mode_shrink_to_a_millionth():
    deck = netlist(Circuit([[0.5, 0.0], [0.0, 2.0]], tau=0.1), [1.0, 1.0])
    assert math.exp(-0.5 * deck.run.stop_s / 0.1) == pytest.approx(1e-6, rel=1e-2)


def test_numbers_are_written_to_the_last_bit():
    circuit, x = circuit_of(3)
    lines = lines_of(netlist(circuit, x, unit_siemens=1.0).text())
    written = {line.split()[0]: float(line.split()[5]) for line in lines if line.startswith("G")}
    assert all(written[f"G{i}_{j}"] == circuit.R[i, j] for i in range(3) for j in range(3))


def test_a_switch_is_a_short_line_around_its_time_and_points_stay_points():
    circuit, _ = circuit_of(1)
    switch = netlist(circuit, PiecewiseConstant([0, 1.0], [[1.0], [3.0]]), unit_siemens=1.0, step_s=0.1).text()
    source = next(line for line in lines_of(switch) if line.startswith("I0"))
    head, points = source.split("PWL(")
    numbers = [float(word) for word in points.rstrip(")").split()]
    assert head == "I0 0 xbar0 DC 1.0 "
    times, values = numbers[::2], numbers[1::2]
    assert values == [1.0, 1.0, 3.0] and np.mean(times[1:]) == 1.0
    assert times[2] - times[1] == pytest.approx(1e-3 * 0.1, rel=5e-2)  # the step is a part of the end
    ramp = netlist(circuit, PiecewiseLinear([0, 1.0], [[1.0], [3.0]]), unit_siemens=1.0).text()
    assert "PWL( 0.0 1.0 1.0 3.0)" in next(line for line in lines_of(ramp) if line.startswith("I0"))
    assert "DC" not in netlist(circuit, PiecewiseLinear([0, 1.0], [[1.0], [3.0]]), simulator="gnucap").text()


def test_times_of_the_stimulus_stretch_with_the_time_constant():
    circuit, _ = circuit_of(1, tau=10.0)
    text = netlist(circuit, PiecewiseLinear([0, 5.0], [[1.0], [3.0]]), unit_siemens=1.0, tau_s=0.02).text()
    assert "0.01 3.0)" in text


def test_units_carry_the_names_they_are_given():
    circuit, x = circuit_of(3)
    names = ["left", "right", "V1_L4"]
    for kind in ("ota", "crossbar"):
        text = netlist(circuit, x, kind, names=names).text()
        np.testing.assert_allclose(outputs(text, 3, names), np.linalg.solve(circuit.R, x), atol=1e-9)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "must hold 3 names"),
        ("abc", "must hold 3 names"),
        (["a", "../b", "c"], r"letters, digits and underscores.*'../b' at 1"),
        (["a", "b c", "d"], "letters, digits and underscores"),
        (["a", "b\n.control", "d"], "letters, digits and underscores"),
        (["a", "1b", "d"], "letters, digits and underscores"),
        (["a", "b", 3], "letters, digits and underscores"),
        (["a", "b", "A"], "differ in more than capitals; 'A' at 2 is that of 0"),
        (["a", "b", "s_a"], "'s_a' at 2 is that of 0"),
        (["a", "b", "GND"], "a simulator's own"),
    ],
)
def test_names_that_a_simulator_would_misread_are_refused(names, message, tmp_path):
    circuit, x = circuit_of(3)
    with pytest.raises(InputError, match=message):
        write_spice(circuit, x, tmp_path / "circuit.cir", names=names)
    assert not list(tmp_path.iterdir())


class TestBadInput:
    @pytest.fixture(autouse=True)
    def _nothing_is_written(self, tmp_path):
        self.path = tmp_path / "circuit.cir"
        yield
        assert not list(tmp_path.iterdir())

    def refuse(self, error, message, *arguments, **options):
        circuit, x = circuit_of(3)
        with pytest.raises(error, match=message):
            write_spice(*(arguments or (circuit, x)), self.path, **options)

    def test_an_unstable_circuit_of_which_an_operating_point_exists(self):
        circuit = Circuit([[-1.0, 0.0], [0.0, 2.0]])
        np.testing.assert_allclose(np.linalg.solve(circuit.R, [1.0, 1.0]), [-1.0, 0.5])
        self.refuse(StabilityError, "min Re λ > 0 to settle; got -1", circuit, [1.0, 1.0])

    def test_a_chip_whose_devices_make_it_unstable(self):
        circuit, x = circuit_of(3)
        pair = map_to_conductances(circuit.R)
        swapped = replace(pair, plus=pair.minus, minus=pair.plus)
        self.refuse(StabilityError, "with these devices and amplifiers it is -", circuit, x, pair=swapped)

    def test_amplifiers_too_slow_for_their_loop(self):
        # Two integrators in a ring with a third pole each: the phase is gone before the gain is.
        circuit = Circuit([[0.2, 3.0], [-3.0, 0.2]], 1e-3)
        slow = Amplifier(bandwidth_hz=300.0)
        self.refuse(StabilityError, "faster amplifiers", circuit, [1.0, 1.0], kind="crossbar", amplifier=slow)

    def test_a_matrix_instead_of_a_circuit(self):
        self.refuse(InputError, "Use Circuit", np.eye(3), np.ones(3))

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.ones(2), r"shape \(3,\), one entry per unit; got \(2,\)"),
            (np.ones((4, 3)), "PiecewiseConstant"),
            ([1.0, np.nan, 0.0], "found nan at index 1"),
            (np.sin, "PiecewiseLinear"),
            (PiecewiseConstant([0.0], np.ones((1, 2))), r"\(times, 3\); got \(1, 2\)"),
            (PiecewiseConstant([0.0], np.ones((1, 2, 3))), r"\(times, 3\)"),
        ],
        ids=["length", "samples", "nan", "function", "pieces", "batches"],
    )
    def test_inputs_that_are_not_one_per_unit(self, x, message):
        self.refuse(InputError, message, circuit_of(3)[0], x)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kind": "otta"}, "Did you mean 'ota'"),
            ({"kind": "crosbar"}, "Did you mean 'crossbar'"),
            ({"simulator": "ngspise"}, "Did you mean 'ngspice'"),
            ({"unit_siemens": 0.0}, "unit_siemens must be > 0"),
            ({"volts_per_unit": -1.0}, "volts_per_unit must be > 0"),
            ({"tau_s": math.inf}, "tau_s must be a finite number"),
            ({"t_end_s": -1.0}, "t_end_s must be ≥ 0"),
            ({"step_s": 0.0}, "step_s must be > 0"),
            ({"step_s": 1e-12}, "at most 10000000 steps"),
            ({"amplifier": Amplifier()}, "Use kind='crossbar'"),
            ({"kind": "crossbar", "amplifier": 1e3}, "must be an Amplifier; got float"),
            ({"kind": "crossbar", "amplifier": Amplifier(swing_v=1.0)}, "infinite swing_v"),
            ({"kind": "crossbar", "amplifier": Amplifier(offset_v=1e-3)}, "give offsets_v"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_options_out_of_range(self, options, message):
        self.refuse(ConfigError, message, **options)

    def test_conductances_that_are_none(self):
        circuit, x = circuit_of(3)
        pair = map_to_conductances(circuit.R)
        self.refuse(InputError, "must be a Pair", circuit, x, pair=circuit.R)
        bad = pair.plus.copy()
        bad[1, 2] = -1e-6
        self.refuse(InputError, "pair.plus = -1e-06 S at row 1, column 2", circuit, x, pair=replace(pair, plus=bad))
        self.refuse(InputError, "those of the circuit's matrix", circuit, x, pair=map_to_conductances(np.eye(2)))
        self.refuse(ConfigError, "left out where a pair is given", circuit, x, pair=pair, unit_siemens=1.0)
        bad[1, 2] = np.inf
        self.refuse(InputError, "found inf at row 1, column 2", circuit, x, pair=replace(pair, plus=bad))

    def test_offsets_and_starts_of_the_wrong_length(self):
        circuit, x = circuit_of(3)
        self.refuse(InputError, r"offsets_v must be \(3,\)", circuit, x, kind="crossbar", offsets_v=np.zeros(2))
        self.refuse(InputError, r"initial must have the shape \(3\)", circuit, x, initial=np.zeros(2))

    def test_more_elements_than_a_simulator_takes(self, monkeypatch):
        monkeypatch.setattr("neurodecorr.export.spice.deck.LARGEST", 10)
        self.refuse(ConfigError, "at most 10 elements here; this one needs 15")


def test_a_path_that_is_a_folder_is_refused(tmp_path):
    circuit, x = circuit_of(2)
    with pytest.raises(CheckpointError, match="is a folder"):
        write_spice(circuit, x, tmp_path)


class TestPiecewiseLinear:
    def test_it_is_the_line_between_its_points(self):
        ramp = PiecewiseLinear([0.0, 1.0, 3.0], [[0.0], [2.0], [-2.0]])
        np.testing.assert_allclose([ramp(t)[0] for t in (0, 0.25, 1, 2, 3, 9)], [0, 0.5, 2, 0, -2, -2])

    @pytest.mark.parametrize(
        ("times", "values", "message"),
        [
            ([0.0, 0.0], [[1.0], [2.0]], "increases strictly"),
            ([1.0, 2.0], [[1.0], [2.0]], "starts at 0"),
            ([0.0, 1.0], [[1.0]], r"\(points, n\) with 2 points; got \(1, 1\)"),
            ([0.0], [1.0], r"\(points, n\)"),
            ([0.0], [[np.nan]], "finite"),
        ],
    )
    def test_times_and_values_must_match(self, times, values, message):
        with pytest.raises(InputError, match=message):
            PiecewiseLinear(times, values)


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
    np.testing.assert_allclose(outputs(deck.text(), 6), rest.volts, atol=1e-10)
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
    found = outputs(netlist(chip, x).text(), 6) / chip.volts_per_unit
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
    np.testing.assert_allclose(outputs(text, 4), chip.settle(x).volts, atol=1e-10)
    assert "* converters = DAC in the sources, ADC left out" in text
    with pytest.raises(ConfigError, match="Use PiecewiseConstant"):
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
