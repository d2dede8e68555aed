"""Netlists hold the circuit they claim to: Kirchhoff's laws, solved here from the text alone, give x̄."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from neurodecorr.circuit import Circuit, PiecewiseConstant, SparseCircuit, TwoPopulationCircuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError, StabilityError
from neurodecorr.export import write_spice
from neurodecorr.export.spice import PiecewiseLinear
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.devices import Devices, map_to_conductances


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
            ({"amplifier": Amplifier()}, "belong to kind='crossbar'"),
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
