"""Traces and results with named axes, where xarray is installed."""

import sys

import h5py
import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.io import Recorder, Result, Variable, read_traces
from neurodecorr.io.hdf5 import read_attribute, write_text_attribute


@pytest.fixture
def traces(tmp_path):
    variables = [Variable("margin", unit="1/τ", description="min Re λ(R)"), Variable("R", (2, 3), "float32")]
    with Recorder(tmp_path / "t.h5", variables, metadata={"tau_s": 0.02}, provenance={"seed": 1}) as recorder:
        for step in range(0, 50, 5):
            recorder.record(step, {"margin": step / 10} | ({"R": np.full((2, 3), step)} if step % 10 == 0 else {}))
    return read_traces(tmp_path / "t.h5")


def test_without_xarray_the_line_that_installs_it_is_told(traces, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    for found in (traces, Result({"M": np.eye(2)})):
        with pytest.raises(ConfigError, match=r"pip install 'neurodecorr\[xarray\]'"):
            found.to_xarray()


def test_traces_become_a_dataset_with_steps_and_units(traces):
    pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    data = traces.to_xarray()
    assert data["R"].dims == ("R_step", "R_axis0", "R_axis1") and data["R"].dtype == np.float32
    assert float(data["margin"].sel(margin_step=35)) == 3.5
    assert data["margin"].attrs == {"units": "1/τ", "description": "min Re λ(R)"}
    assert data.attrs == {"tau_s": 0.02, "provenance": '{"seed": 1}', "complete": 1}


def test_a_dataset_of_traces_can_be_written_to_netcdf(traces, tmp_path):
    xarray = pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    pytest.importorskip("h5netcdf", reason="pip install 'neurodecorr[xarray]'")
    traces.to_xarray().to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as again:
        assert again["R"].values.tobytes() == traces["R"].values.tobytes()


def test_results_become_a_dataset(tmp_path):
    pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    data = Result({"M": np.eye(2), "on": np.array(True)}, {"rate": 1e-3, "config": {"a": [1]}}).to_xarray()
    assert data["M"].dims == ("M_axis0", "M_axis1") and bool(data["on"])
    assert data.attrs == {"rate": 1e-3, "config": '{"a": [1]}'}


def recorded(path, metadata):
    with Recorder(path, [Variable("xbar", (2,)), Variable("margin")], metadata=metadata) as recorder:
        recorder.record(0, {"xbar": [0.0, 1.0]})
        recorder.record(3, {"xbar": [1.0, 2.0], "margin": 0.5})
    return read_traces(path)


CLOCK = {"step_unit": "dt", "dt": 0.25, "tau_unit": "ms"}
MEANINGS = [
    ({}, "samples", "samples seen before the row was recorded"),
    ({"step_unit": "samples"}, "samples", "samples seen before the row was recorded"),
    ({"step_unit": "batches"}, "batches", "batches before the row was recorded"),
    ({"step_unit": "batches", "step_description": "batches learnt from"}, "batches", "batches learnt from"),
    (CLOCK, "dt", "time of the row over dt = 0.25 ms"),
]


@pytest.mark.parametrize(("metadata", "unit", "description"), MEANINGS)
def test_the_step_axis_of_the_file_says_what_steps_count(tmp_path, metadata, unit, description):
    trace = recorded(tmp_path / "t.h5", metadata)["margin"]
    assert (trace.step_unit, trace.step_description) == (unit, description)
    with h5py.File(tmp_path / "t.h5") as file:
        axis = file["traces/margin_step"]
        assert read_attribute(axis, "units") == unit and read_attribute(axis, "description") == description


def test_files_whose_axes_all_said_samples_are_read_by_their_metadata(tmp_path):
    recorded(tmp_path / "t.h5", CLOCK)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        for name in ("xbar_step", "margin_step"):
            write_text_attribute(file[f"traces/{name}"], "units", "samples")
            write_text_attribute(file[f"traces/{name}"], "description", "samples seen before the row was recorded")
    assert read_traces(tmp_path / "t.h5")["xbar"].step_unit == "dt"


@pytest.mark.parametrize("name", ["step_unit", "step_description"])
def test_what_steps_count_is_text(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"metadata\['{name}'\] must be text, what steps count; got 3"):
        recorded(tmp_path / "t.h5", {name: 3})


def test_each_variable_has_its_times_beside_its_steps_where_dt_is_told(tmp_path):
    pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    data = recorded(tmp_path / "t.h5", CLOCK).to_xarray()
    assert data["xbar"].coords["xbar_time"].dims == ("xbar_step",) and data["xbar_time"].values.tolist() == [0.0, 0.75]
    assert data["margin_time"].values.tolist() == [0.75] and data["margin_time"].attrs["units"] == "ms"
    assert data["margin_step"].attrs == {"units": "dt", "description": "time of the row over dt = 0.25 ms"}
    in_seconds = recorded(tmp_path / "s.h5", {"step_unit": "dt", "dt": 1e-3}).to_xarray()
    assert in_seconds["xbar_time"].attrs["units"] == "s"


@pytest.mark.parametrize(
    "metadata", [{}, {"dt": 0.25}, {**CLOCK, "step_unit": "samples"}, {**CLOCK, "dt": 0}, {**CLOCK, "dt": "0.25"}]
)
def test_there_are_no_times_where_steps_count_no_dt(tmp_path, metadata):
    pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    assert not [name for name in recorded(tmp_path / "t.h5", metadata).to_xarray().coords if name.endswith("_time")]


def test_a_variable_that_is_called_as_a_time_keeps_its_name(tmp_path):
    pytest.importorskip("xarray", reason="pip install 'neurodecorr[xarray]'")
    with Recorder(tmp_path / "t.h5", [Variable("a"), Variable("a_time")], metadata=CLOCK) as recorder:
        recorder.record(2, {"a": 1.0, "a_time": 7.0})
    data = read_traces(tmp_path / "t.h5").to_xarray()
    assert data["a_time"].values.tolist() == [7.0] and data["a_time_time"].values.tolist() == [0.5]
