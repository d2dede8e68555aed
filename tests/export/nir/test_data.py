"""Activity on a grid of times comes back to the bit; what is no such activity is refused."""

import h5py
import nir
import numpy as np
import pytest

from neurodecorr import export
from neurodecorr.circuit import Circuit, integrate
from neurodecorr.errors import CheckpointError, ConfigError, InputError

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_activity_comes_back_to_the_bit(tmp_path, dtype):
    data = (100 * RNG.random((3, 5, 2))).astype(dtype)
    path = export.nir.data.write_nir_data(tmp_path / "d.nir", {"01_xbar": {"v": nir.TimeGriddedData(data, 1e-3)}})
    found = export.nir.data.read_nir_data(path)["01_xbar"]["v"]
    assert found.data.dtype == data.dtype and found.data.tobytes() == data.tobytes() and found.dt == 1e-3


def test_nan_and_signed_zeros_come_back(tmp_path):
    data = np.array([[[np.nan, -0.0, np.inf]]])
    path = export.nir.data.write_nir_data(tmp_path / "d.nir", {"a": {"v": nir.TimeGriddedData(data, 1.0)}})
    assert export.nir.data.read_nir_data(path)["a"]["v"].data.tobytes() == data.tobytes()


def test_a_trajectory_becomes_activity():
    circuit, t = Circuit([[2.0, 0.5], [0.0, 1.0]], tau=0.02), np.linspace(0, 0.1, 11)
    many = integrate(circuit, np.ones((3, 2)), 0.1, times=t)
    found = export.nir.data.time_gridded(many)
    assert found.data.shape == (3, 11, 2) and found.dt == pytest.approx(0.01)
    assert np.array_equal(found.data[1], many.xbar[:, 1])
    one = export.nir.data.time_gridded(integrate(circuit, np.ones(2), 0.1, times=t), second=1e-3)
    assert one.data.shape == (1, 11, 2) and one.dt == pytest.approx(1e-5)
    with pytest.raises(InputError, match="0, h, 2h"):
        export.nir.data.time_gridded(integrate(circuit, np.ones(2), 0.1, times=[0.0, 0.01, 0.05]))


CIRCUIT = Circuit(np.eye(2), 0.02)
GOOD = nir.TimeGriddedData(np.ones((1, 3, 2)), 1e-3)
WORDS, STILL = nir.TimeGriddedData(np.full((1, 1, 1), "a"), 1e-3), nir.TimeGriddedData(np.ones((1, 1, 1)), 0.0)
FLAT = nir.TimeGriddedData(np.ones((1, 3, 2)), 1e-3)
FLAT.data = np.ones((4, 3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: export.nir.data.write_nir_data(p, {"a": {"v": WORDS}}), InputError, "must be numbers"),
        (
            lambda p: export.nir.data.write_nir_data(p, {"a": {"v": FLAT}}),
            InputError,
            "Traces of weights belong in the",
        ),
        (lambda p: export.nir.data.write_nir_data(p, {"a": {"v": STILL}}), ConfigError, "dt must be > 0"),
        (lambda p: export.nir.data.write_nir_data(p, {"a/b": {"v": GOOD}}), InputError, "without slashes; got 'a/b'"),
        (lambda p: export.nir.data.write_nir_data(p, {"a": {"../v": GOOD}}), InputError, "without slashes"),
        (
            lambda p: export.nir.data.write_nir_data(p, {"a": GOOD}),
            InputError,
            "must be a mapping from names to nir.TimeGriddedData",
        ),
        (
            lambda p: export.nir.data.write_nir_data(p, {"a": {"v": np.ones((1, 1, 1))}}),
            InputError,
            "to nir.TimeGriddedData",
        ),
        (lambda p: export.nir.data.write_nir_data(p, {}), InputError, "activity must be a mapping"),
        (lambda p: export.write_nir(CIRCUIT, p, data={"xbr": {"v": GOOD}}), ConfigError, "Did you mean '01_xbar'"),
        (
            lambda p: export.write_nir(Circuit(np.eye(3)), p, data={"xbar": {"v": GOOD}}),
            InputError,
            "'v' of node '01_xbar' must have 3 neurons; got 2",
        ),
    ],
)
def test_what_is_no_activity_is_refused(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        make(tmp_path / "d.nir")
    assert not list(tmp_path.iterdir())


HOSTILE = {
    "no_root": (lambda f: f.attrs.__delitem__("__type__"), "must hold NIRGraphData under 'nodes'"),
    "nested": (lambda f: f["nodes/a"].attrs.__setitem__("__type__", "NIRGraphData"), "Nested data are not read"),
    "events": (
        lambda f: f["nodes/a/observables/v"].attrs.__setitem__("__type__", "EventData"),
        "Use to_time_gridded of nir for events",
    ),
    "no_step": (lambda f: f["nodes/a/observables/v"].attrs.__delitem__("dt"), "dt must be a number"),
    "no_data": (lambda f: f["nodes/a/observables/v"].__delitem__("data"), "must be TimeGriddedData"),
    "flat": (
        lambda f: (
            f["nodes/a/observables/v"].__delitem__("data"),
            f["nodes/a/observables/v"].__setitem__("data", np.ones(3)),
        ),
        r"\(samples, time, neurons\)",
    ),
    "link": (lambda f: f.__setitem__("nodes/b", h5py.SoftLink("/nodes/a")), "is a soft link"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_activity_is_refused(tmp_path, name):
    path = export.nir.data.write_nir_data(tmp_path / "d.nir", {"a": {"v": GOOD}})
    forge, message = HOSTILE[name]
    with h5py.File(path, "r+") as file:
        forge(file)
    with pytest.raises(CheckpointError, match=message):
        export.nir.data.read_nir_data(path)
