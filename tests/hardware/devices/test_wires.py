"""Wires that are not free: against Kirchhoff's law at every node, two public tools, and what can be said by hand."""

import shutil
import subprocess

import numpy as np
import pytest
from scipy.sparse.linalg import splu

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.devices.wires import effective_conductances, node_equations


def checkered(rows, columns):
    """Conductances between 2.5 and 25 µS, the same on every machine."""
    i, j = np.indices((rows, columns))
    return (2.5 + 22.5 * ((7 * i + 3 * j + i * j) % 11) / 10) * 1e-6


def voltages(columns):
    return np.cos(1.0 + np.arange(columns))


# CrossSim 3.2, `NoninterleavedInputSourceArray`, Verr_th = 1e-15: currents in amperes of `checkered` at `voltages`.
CROSSSIM = {
    (4, 4, 1.0): [-3.320482209414753e-05, -1.596243784783786e-05, -2.2387739565347186e-05, -5.147726483928696e-06],
    (4, 4, 500.0): [-3.130683739536193e-05, -1.5020911369967722e-05, -2.0367389602742093e-05, -5.115184583946805e-06],
    (3, 6, 50.0): [-2.0501553901890645e-05, -1.3179751618110026e-06, -5.479135657240933e-06],
    (16, 16, 2.0): [
        *(-3.7563253435792845e-05, -2.1629046473120114e-05, -2.9059900844401324e-05, 5.71891480132266e-06),
        *(-1.2698268917467399e-05, 9.739336699656209e-08, 3.305763132915778e-05, -1.2224386877784678e-05),
        *(-5.8853824302339586e-06, -2.313764793398554e-06, -3.82002827828542e-05, -3.744481285038489e-05),
        *(-2.15651439068919e-05, -2.8983668020822107e-05, 5.708317442298361e-06, -1.2672460820445576e-05),
    ],
}


@pytest.mark.parametrize(("rows", "columns", "r"), sorted(CROSSSIM))
def test_currents_are_those_of_crosssim(rows, columns, r):
    currents = effective_conductances(checkered(rows, columns), r) @ voltages(columns)
    # Its iteration stops at 1e-15 of the largest voltage; 1e-7 A is the smallest current here.
    np.testing.assert_allclose(currents, CROSSSIM[rows, columns, r], rtol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (3, 7), (12, 12)])
@pytest.mark.parametrize("r", [1e-3, 1.0, 100.0, 1e5])
def test_elimination_line_by_line_solves_the_equations_of_all_nodes(shape, r):
    (rows, columns), w = shape, 1 / r
    G = np.random.default_rng(rows + columns).uniform(0, 25e-6, shape)
    drives = np.zeros((2 * rows * columns, columns))
    drives[np.arange(columns), np.arange(columns)] = w
    nodes = splu(node_equations(G, w)).solve(drives)
    currents = w * nodes[rows * columns :].reshape(rows, columns, columns)[:, -1]
    # Both are direct solves of matrices with condition (rows + columns)²; 1e-12 leaves three digits.
    np.testing.assert_allclose(effective_conductances(G, r), currents, rtol=1e-12, atol=1e-25)


def test_the_equations_of_the_nodes_are_kirchhoffs_law():
    G, w, rng = checkered(3, 4), 1e-2, np.random.default_rng(0)
    v, u, d = rng.standard_normal(4), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    up = np.vstack([v, u])
    falls = w * (up[:-1] - up[1:])  # current into each upper node from above
    upper = falls - np.vstack([falls[1:], np.zeros(4)]) - G * (u - d)
    along = np.hstack([np.zeros((3, 1)), w * (d - np.hstack([d[:, 1:], np.zeros((3, 1))]))])
    lower = along[:, :-1] - along[:, 1:] + G * (u - d)
    left = node_equations(G, w) @ np.concatenate([u.ravel(), d.ravel()])
    left[:4] -= w * v
    np.testing.assert_allclose(left, -np.concatenate([upper.ravel(), lower.ravel()]), rtol=0, atol=1e-15)


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="needs ngspice: apt-get install ngspice")
@pytest.mark.parametrize(("rows", "columns", "r"), sorted(CROSSSIM))
def test_currents_are_those_of_ngspice(rows, columns, r, tmp_path):
    G, v = checkered(rows, columns), voltages(columns)
    lines = ["crossbar", *(f"vin{j} u{j}_0 0 dc {float(v[j])!r}" for j in range(columns))]
    for i, j in np.ndindex(rows, columns):
        end = f"d{i}_{j + 1}"
        lines += [f"ru{i}_{j} u{j}_{i} u{j}_{i + 1} {r!r}", f"rd{i}_{j} {f'd{i}_{j}'} {end} {r!r}"]
        lines += [f"rg{i}_{j} u{j}_{i + 1} d{i}_{j} {float(1 / G[i, j])!r}"]
    lines += [f"vout{i} d{i}_{columns} 0 dc 0" for i in range(rows)]
    lines += [".options abstol=1e-18 reltol=1e-9 gmin=1e-20", ".control", "set numdgt=16", "op"]
    lines += [*(f"print i(vout{i})" for i in range(rows)), "quit", ".endc", ".end"]
    file = tmp_path / "crossbar.cir"
    file.write_text("\n".join(lines))
    said = subprocess.run(["ngspice", "-b", str(file)], capture_output=True, text=True, timeout=60, check=False).stdout
    found = {k: float(x) for k, _, x in (line.partition(" = ") for line in said.splitlines()) if k.startswith("i(vout")}
    currents = effective_conductances(G, r) @ v
    np.testing.assert_allclose(currents, [found[f"i(vout{i})"] for i in range(rows)], rtol=1e-9)


def test_one_device_is_in_series_with_its_two_wires():
    assert 1 / effective_conductances([[1e-3]], 7.0).item() == pytest.approx(1000 + 2 * 7.0, rel=1e-14)


def test_a_single_row_of_equal_devices_is_a_ladder():
    # Two devices g on one row: by hand, with r for each wire.
    g, r = 1e-3, 100.0
    near, far = 1 / (1 / g + r), 1 / (1 / g + 2 * r)  # the second column, and the first behind one wire more
    node = 1 / (near + far + 1 / r)  # resistance from the last node to ground
    expected = [far * node / r, near * node / r]
    np.testing.assert_allclose(effective_conductances([[g, g]], r), [expected], rtol=1e-13)


@pytest.mark.parametrize("r", [1e-6, 1e-3])
def test_wires_that_are_almost_free_change_conductances_by_less_than_their_share(r):
    G = np.random.default_rng(0).uniform(1e-6, 25e-6, (16, 16))
    # Voltage lost along both lines: at most r · Σ G along them, twice 16 wires in each of which 16 devices draw.
    bound = 2 * 16 * 16 * 25e-6 * r
    lost = 1 - effective_conductances(G, r) / G
    assert 0 < lost.max() < bound
    assert lost.max() > bound / 20


def test_wires_take_and_never_give_and_take_most_where_they_are_longest():
    G = np.full((8, 8), 25e-6)
    effective = effective_conductances(G, 50.0)
    assert (effective < G).all() and (effective > 0).all()
    # Far down the column, and far from the end of the row.
    assert (np.diff(effective, axis=0) < 0).all() and (np.diff(effective, axis=1) > 0).all()


def test_the_effect_of_wires_is_of_first_order_in_their_resistance():
    G = checkered(10, 10)
    lost = [np.abs(G - effective_conductances(G, r)).max() for r in (1e-2, 5e-3, 2.5e-3)]
    assert np.log2(lost[0] / lost[1]) == pytest.approx(1, abs=1e-3)
    assert np.log2(lost[1] / lost[2]) == pytest.approx(1, abs=1e-3)


def test_many_crossbars_at_once_are_each_as_alone():
    G = np.random.default_rng(1).uniform(0, 25e-6, (5, 6, 4))
    together = effective_conductances(G, 10.0)
    np.testing.assert_array_equal(together, [effective_conductances(one, 10.0) for one in G])


@pytest.mark.parametrize("sides", ["two", "one"])
def test_a_chip_with_wires_acts_with_the_weights_that_its_crossbars_conduct(sides):
    W = np.random.default_rng(2).standard_normal((6, 5))
    array = Devices(g_min=1e-6, sides=sides, wire_resistance_ohm=20.0).program(W, 0)
    pair = array.pair()
    if sides == "two":
        currents = [effective_conductances(G, 20.0) for G in (pair.plus, pair.minus)]
        expected = (currents[0] - currents[1]) / pair.scale
    else:  # the reference is the last row of the same crossbar
        rows = effective_conductances(np.vstack([pair.plus, pair.minus]), 20.0)
        expected = (rows[:-1] - rows[-1]) / pair.scale
    np.testing.assert_allclose(array.weights(), expected, rtol=1e-14)
    assert 1e-3 < np.abs(array.weights() - W).max() < 0.1
    free = Devices(g_min=1e-6, sides=sides, wire_resistance_ohm=1e-9).program(W, 0).weights()
    assert np.abs(free - W).max() < 1e-11


@pytest.mark.parametrize(
    ("G", "message"),
    [
        ([[1e-6, -1e-6]], "G must lie between 0 and inf S; got -1e-06 S at index .0, 1."),
        ([[np.nan]], "G must be finite"),
        ([1e-6], "G must be a .rows, columns. array of conductances; got shape .1,."),
        (np.zeros((0, 3)), "got shape .0, 3."),
    ],
    ids=["negative", "nan", "flat", "empty"],
)
def test_crossbars_that_cannot_be_are_refused(G, message):
    with pytest.raises(InputError, match=message):
        effective_conductances(G, 1.0)


@pytest.mark.parametrize("r", [0.0, -1.0, np.inf])
def test_wires_have_a_positive_resistance(r):
    with pytest.raises(ConfigError, match="wire_resistance_ohm must be"):
        effective_conductances([[1e-6]], r)
