"""Programs that others wrote read the files, and run the circuits; each test needs the tool it names.

pip install torch==2.13.0          (or any other build; the default one for Linux is large)
pip install nir sinabs rockpool nengo xarray h5netcdf netCDF4
"""

import importlib.util
import shutil
import subprocess
import warnings

import nir
import numpy as np
import pytest

from neurodecorr import export
from neurodecorr.circuit import Circuit, integrate
from neurodecorr.io import Recorder, Variable
from neurodecorr.network import Decorrelation, Dense, Network

RNG = np.random.default_rng(3)
START = RNG.bit_generator.state
DT = 1e-4


@pytest.fixture(autouse=True)
def _numbers_that_do_not_depend_on_other_tests():
    RNG.bit_generator.state = START


def needed(name, line):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed; {line}", exc_type=ImportError)


def circuit(n, tau=0.02):
    return Circuit(1.3 * np.eye(n) + RNG.standard_normal((n, n)) / (2 * np.sqrt(n)), tau)


def alike(a, b):
    """Whether two arrays are the same to the bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("pair", [False, True])
def test_nir_reads_ours_and_we_read_what_it_writes_to_the_bit(tmp_path, pair):
    own = circuit(6).two_population(0.007) if pair else circuit(6)
    graph = nir.read(export.write_nir(own, tmp_path / "ours.nir"))
    assert {type(node).__name__ for node in graph.nodes.values()} >= {"Input", "LI", "Linear", "Output"}
    assert graph.metadata["time_unit"] == "s"
    nir.write(tmp_path / "theirs.nir", graph)
    again = export.read_nir(tmp_path / "theirs.nir")
    assert alike(again.R, own.R) and again.tau == own.tau
    ours, theirs = (export.state_space(tmp_path / f"{name}.nir") for name in ("ours", "theirs"))
    assert alike(ours.A, theirs.A) and alike(ours.B, theirs.B) and alike(ours.C, theirs.C)


def test_a_graph_that_was_never_ours_is_read(tmp_path):
    W = RNG.standard_normal((3, 3)) / 3
    unit = nir.LI(tau=np.full(3, 0.01), r=np.ones(3), v_leak=np.zeros(3))
    ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})}
    edges = [("input", "unit"), ("unit", "back"), ("back", "unit"), ("unit", "output")]
    nir.write(tmp_path / "g.nir", nir.NIRGraph({**ends, "unit": unit, "back": nir.Linear(W)}, edges))
    again = export.read_nir(tmp_path / "g.nir")
    assert again.tau == 0.01 and np.abs(again.R - (np.eye(3) - W)).max() < 1e-15


def test_activity_goes_through_nirdata_and_back_to_the_bit(tmp_path):
    own, t = circuit(6), np.linspace(0, 0.1, 51)
    activity = export.nir.data.time_gridded(integrate(own, RNG.standard_normal((2, 6)), 0.1, times=t))
    path = export.write_nir(own, tmp_path / "ours.nir", data={"xbar": {"v": activity}})
    data = nir.read_data(path)
    found = data.nodes["01_xbar"].observables["v"]
    assert alike(found.data, activity.data) and found.dt == activity.dt
    data.check_nodes(nir.read(path))
    nir.write_data(tmp_path / "theirs.nir", data)
    again = export.nir.data.read_nir_data(tmp_path / "theirs.nir")["01_xbar"]["v"]
    assert alike(again.data, activity.data) and again.dt == activity.dt


def tell(name, found, course, rest):
    """Print the errors over the course and at rest; seen with `pytest -s`."""
    print(f"\n{name}: course {np.abs(found - course).max():.1e}, rest {np.abs(found[-1] - rest).max():.1e}")


def stepwise(net, x, steps):
    """Run a torch module of nirtorch step by step; its output after each step."""
    torch = needed("torch", "pip install torch==2.13.0")
    found, state = [], None
    with torch.no_grad():
        for _ in range(steps):
            y, state = net(x, state)
            found.append((y[0] if isinstance(y, tuple) else y).numpy().ravel().copy())
    return np.array(found)


def run_sinabs(path, x, steps):
    torch = needed("torch", "pip install torch==2.13.0")
    reader = needed("sinabs.nir", "pip install torch==2.13.0 sinabs==3.1.3")
    graph = nir.read(path)
    net = reader.from_nir(graph, batch_size=1, num_timesteps=1)
    return stepwise(net, torch.tensor(x, dtype=torch.float32)[None], steps)


def run_rockpool(path, x, steps):
    torch = needed("torch", "pip install torch==2.13.0")
    reader = needed("rockpool.nn.modules.torch.nir", "pip install torch==2.13.0 rockpool==3.1.0")
    net = reader.from_nir(nir.read(path))
    return stepwise(net, torch.tensor(x, dtype=torch.float32)[None, None], steps)


def run_nengo(path, x, steps):
    needed("nengo", "pip install nengo==4.1.0")
    found = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    return script.run(x, steps * DT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", [4, 16, 64])
@pytest.mark.parametrize("discretisation", ["held", "exact"])
@pytest.mark.parametrize("dialect", ["sinabs", "rockpool"])
def test_a_simulator_runs_its_dialect(tmp_path, monkeypatch, dialect, discretisation, n):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # rockpool looks for packages of its devices when it is imported
    own, x = circuit(n), RNG.standard_normal(n)
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    path = export.write_nir(own, tmp_path / "d.nir", dialect, dt_s=DT, discretisation=discretisation)
    run = {"sinabs": run_sinabs, "rockpool": run_rockpool}[dialect]
    found = run(path, x, 4000)
    ends = space.respond(x, DT * np.arange(1, 4001))
    # Held: O(dt/τ) = 5e-3 times a course that bends by less than 1; exact: single precision over 200 steps per τ.
    assert np.abs(found - ends).max() < (2e-3 if discretisation == "held" else 1e-4)
    assert np.abs(found[-1] - space.rest(x)).max() < 1e-4
    tell(f"{dialect} {discretisation} n={n}", found, ends, space.rest(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dialect", ["sinabs", "rockpool"])
def test_a_simulator_runs_a_pair_of_populations_exactly(tmp_path, monkeypatch, dialect):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own, x = circuit(4).two_population(0.01), RNG.standard_normal(4)
    space = export.state_space(export.write_nir(own, tmp_path / "c.nir"))
    path = export.write_nir(own, tmp_path / "d.nir", dialect, dt_s=DT, discretisation="exact")
    found = {"sinabs": run_sinabs, "rockpool": run_rockpool}[dialect](path, x, 2000)
    assert np.abs(found - space.respond(x, DT * np.arange(1, 2001))).max() < 1e-4


@pytest.mark.parametrize("n", [4, 16, 64])
def test_nengo_runs_its_script(tmp_path, n):
    own, x = circuit(n), RNG.standard_normal(n)
    times, found = run_nengo(export.write_nengo_script(own, tmp_path / "circuit.py"), x, 4000)
    space = export.state_space(tmp_path / "circuit.nir")
    tell(f"nengo n={n}", found, space.respond(x, times), space.rest(x))
    assert np.abs(found - space.respond(x, times)).max() < 2e-3
    assert np.abs(found[-1] - space.rest(x)).max() < 1e-4


def network():
    layers = [Dense(5, "identity"), Dense(3, "identity")]
    made = Network(
        layers,
        8,
        decorrelation=Decorrelation("recurrent", rate=1e-2, rule="explicit", rate_is="absolute"),
        loss="mse",
        dtype="float64",
        seed=1,
    )
    for _ in range(5):
        made.decorrelate(made.forward(RNG.standard_normal((30, 8)) + 1).signals)
    return made.as_circuit(0.02, 0.01)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", ["sinabs", "rockpool", "nengo"])
def test_a_linear_network_with_means_and_biases_runs_too(tmp_path, monkeypatch, tool):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own, x = network(), RNG.standard_normal(8)
    space = export.state_space(export.write_nir(own, tmp_path / "n.nir"))
    if tool == "nengo":
        times, found = run_nengo(export.write_nengo_script(own, tmp_path / "network.py"), x, 4000)
    else:
        path = export.write_nir(own, tmp_path / "d.nir", tool, dt_s=DT)
        times, found = DT * np.arange(1, 4001), {"sinabs": run_sinabs, "rockpool": run_rockpool}[tool](path, x, 4000)
    tell(f"{tool} network", found, space.respond(x, times), space.rest(x))
    assert np.abs(found - space.respond(x, times)).max() < 2e-3
    assert np.abs(found[-1] - space.rest(x)).max() < 1e-4


@pytest.fixture
def unified(tmp_path):
    """One file that is graph, activity and traces."""
    own, t = circuit(6), np.linspace(0, 0.1, 51)
    activity = export.nir.data.time_gridded(integrate(own, RNG.standard_normal((2, 6)), 0.1, times=t))
    variables = [Variable("R", (6, 6), unit="1", description="lateral weights"), Variable("margin", unit="1/τ")]
    parts = export.nir.files.nir_parts(own, data={"xbar": {"v": activity}})
    with Recorder(tmp_path / "one.h5", variables, metadata={"tau_s": 0.02}, parts=parts) as recorder:
        for step in range(700):
            recorder.record(step, {"R": own.R + step, "margin": step / 10})
    return tmp_path / "one.h5", own, activity


def test_the_one_file_is_a_graph_and_activity_to_nir(unified):
    path, own, activity = unified
    assert alike(nir.read(path).nodes["02_lateral"].weight[0, 1:], -own.R[0, 1:])
    assert alike(nir.read_data(path).nodes["01_xbar"].observables["v"].data, activity.data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_the_one_file_is_a_dataset_to_xarray(unified, engine):
    xarray = needed("xarray", "pip install xarray h5netcdf netCDF4")
    needed("h5netcdf" if engine == "h5netcdf" else "netCDF4", "pip install xarray h5netcdf netCDF4")
    path, own, _ = unified
    with xarray.open_dataset(path, group="traces", engine=engine) as data:
        assert data["R"].dims == ("R_step", "R_axis0", "R_axis1") and alike(data["R"].values[3], own.R + 3)
        assert float(data["margin"].sel(margin_step=37)) == 3.7 and data["R"].attrs["description"] == "lateral weights"
    with xarray.open_datatree(path, engine=engine) as tree:
        assert set(tree.children) == {"node", "nodes", "traces"}


@pytest.mark.parametrize("tool", ["ncdump", "h5dump"])
def test_the_one_file_is_read_by_the_tools_of_netcdf_and_hdf5(unified, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed; apt install hdf5-tools netcdf-bin")
    path = str(unified[0])
    command = {"ncdump": ["ncdump", path], "h5dump": ["h5dump", path]}[tool]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert "01_xbar" in done.stdout and "69.9" in done.stdout and "TimeGriddedData" in done.stdout
