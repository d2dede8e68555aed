"""Traces and results with named axes, where xarray is installed."""

import sys

import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.recording import Recorder, Result, Variable, read_traces


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
