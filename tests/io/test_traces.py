"""Trace files of unknown origin: what leads out of them or lies about its size is refused."""

import os
import time
import zlib

import h5py
import numpy as np
import pytest

from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.io import Recorder, Variable, read_traces

SECRET = 31.25


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "traces.h5"
    with Recorder(path, [Variable("a"), Variable("R", (4, 4))], metadata={"tau_s": 0.02}) as recorder:
        for step in range(20):
            recorder.record(step, {"a": step, "R": np.full((4, 4), step)})
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.full(20, SECRET)
    (tmp_path / "other.bin").write_bytes(np.full(20, SECRET).tobytes())
    return path


def replaced(group, name, make):
    del group[name]
    make()


def chunked(group, name, shape=(20,), dtype="f8", **options):
    options = {"chunks": shape, "maxshape": shape} | options
    return group.create_dataset(name, shape, dtype, **options)


def soft_link(group):
    replaced(group, "a", lambda: group.__setitem__("a", h5py.SoftLink("/traces/R")))


def external_link(group):
    replaced(group, "a", lambda: group.__setitem__("a", h5py.ExternalLink("other.h5", "/secret")))


def external_link_elsewhere(group):
    group.file.create_group("deep/er")["link"] = h5py.ExternalLink("other.h5", "/secret")


def external_group(group):
    replaced(group.file, "traces", lambda: group.file.__setitem__("traces", h5py.ExternalLink("other.h5", "/")))


def external_storage(group):
    replaced(group, "a", lambda: group.create_dataset("a", (20,), "f8", external=[("other.bin", 0, 160)]))


def virtual(group):
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (20,))
    replaced(group, "a", lambda: group.create_virtual_dataset("a", layout))


def virtual_elsewhere(group):
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (20,))
    group.file.create_virtual_dataset("seemingly harmless", layout)


def group_in_itself(group):
    group["again"] = group


def groups_without_end(group):
    for name in "abcdefgh":
        group.file[f"more/{name}"] = group.file["/"]


def too_many_objects(group):
    more = group.create_group("more")
    for index in range(10_001):
        more.create_group(str(index))


def texts(group):
    replaced(group, "a", lambda: chunked(group, "a", dtype=h5py.string_dtype()))


def references(group):
    replaced(group, "a", lambda: chunked(group, "a", dtype=h5py.ref_dtype))


def sequences(group):
    replaced(group, "a", lambda: chunked(group, "a", dtype=h5py.vlen_dtype(np.float64)))


def compound(group):
    replaced(group, "a", lambda: chunked(group, "a", dtype=np.dtype([("x", "f8"), ("y", "f8")])))


def a_group_for_values(group):
    replaced(group, "a", lambda: group.create_group("a"))


def not_chunked(group):
    replaced(group, "a", lambda: group.create_dataset("a", data=np.zeros(20)))


def absurd_shape(group):
    group["a"].resize((10**15,))


def absurd_and_steps(group):
    group["a"].resize((10**15,))
    group["a_step"].resize((10**15,))


def missing_chunks(group):
    group["a"].resize((10_000,))
    group["a_step"].resize((10_000,))


def absurd_chunk(group):
    replaced(group, "a", lambda: chunked(group, "a", (2,), chunks=(2**28,), maxshape=(None,)))


def unpacks_to_more(group):
    """Store a gzip stream of zeros that unpacks to 64 MB, in a chunk of 8 kB."""
    replaced(group, "a", lambda: chunked(group, "a", (1000,), compression="gzip", compression_opts=9))
    group["a"].id.write_direct_chunk((0,), zlib.compress(bytes(64 * 2**20), 9))


def unpacks_to_much_more(group):
    replaced(group, "a", lambda: chunked(group, "a", (2**27,), compression="gzip", compression_opts=9))
    group["a"].id.write_direct_chunk((0,), b"tiny")


def too_little_stored(group):
    replaced(group, "a", lambda: chunked(group, "a", (1000,), fletcher32=True))
    group["a"].id.write_direct_chunk((0,), bytes(8))


def foreign_filter(group):
    replaced(group, "a", lambda: chunked(group, "a", (20,), compression="lzf"))


def twice_packed(group):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((20,))
    properties.set_deflate(1)
    properties.set_deflate(1)
    space = h5py.h5s.create_simple((20,), (20,))
    replaced(group, "a", lambda: h5py.h5d.create(group.id, b"a", h5py.h5t.NATIVE_DOUBLE, space, properties))


def steps_of_floats(group):
    replaced(group, "a_step", lambda: chunked(group, "a_step").__setitem__(..., np.arange(20)))


def steps_of_two_columns(group):
    replaced(group, "a_step", lambda: chunked(group, "a_step", (20, 2), "i8").__setitem__(..., 1))


def steps_out_of_order(group):
    group["a_step"][5] = 3


def negative_steps(group):
    group["a_step"][0] = -4


def rows_without_steps(group):
    group["a"].resize((21,))


def another_schema(group):
    group.file.attrs.create("schema", np.array(b"other"), dtype=h5py.string_dtype("utf-8", 5))


def schema_on_the_heap(group):
    group.file.attrs["schema"] = "neurodecorr-traces"


def a_later_version(group):
    group.file.attrs["schema_version"] = 2


def provenance_no_json(group):
    group.file.attrs.create("provenance", np.array(b"{"), dtype=h5py.string_dtype("utf-8", 1))


def no_unit(group):
    del group["a"].attrs["units"]


def no_traces(group):
    del group.file["traces"]


HOSTILE = {
    soft_link: "traces/a is a soft link; links are never followed",
    external_link: "traces/a is an external link; links are never followed",
    external_link_elsewhere: "deep/er/link is an external link",
    external_group: "h5/traces is an external link",
    external_storage: "traces/a keeps its values in another file",
    virtual: "traces/a is made of datasets elsewhere",
    virtual_elsewhere: "seemingly harmless is made of datasets elsewhere",
    group_in_itself: "must not nest groups more than 16 deep",
    groups_without_end: "must not",
    too_many_objects: "must not hold more than 10000 objects",
    texts: "'a' must hold integers or floats of at most 8 bytes; objects are never read",
    references: "'a' must hold integers or floats",
    sequences: "'a' must hold integers or floats",
    compound: "'a' must hold integers or floats",
    a_group_for_values: "'a' must be a dataset",
    not_chunked: "'a' must be stored in chunks",
    absurd_shape: r"'a' declares 1956947162427 chunks of 4088 bytes; 1 are stored",
    absurd_and_steps: "chunks of 4088 bytes; 1 are stored",
    missing_chunks: "'a' declares 20 chunks of 4088 bytes; 1 are stored",
    absurd_chunk: "'a' declares 1 chunks of 2147483648 bytes; 0 are stored",
    unpacks_to_more: "for a chunk of 8000, in a file of",
    unpacks_to_much_more: "stores 4 bytes at .* for a chunk of 1073741824",
    too_little_stored: "stores 8 bytes at .* for a chunk of 8000",
    foreign_filter: "must be packed with shuffle, gzip and fletcher32 only",
    twice_packed: r"each once; got \[1, 1\]",
    steps_of_floats: "'a_step' must be a row of int64; got float64",
    steps_of_two_columns: r"'a_step' must be a row of int64; got int64 \(20, 2\)",
    steps_out_of_order: "'a_step' must increase",
    negative_steps: "'a_step' must increase from 0",
    rows_without_steps: "'a' must have one row per step; got 21 for 20",
    another_schema: "must have schema 'neurodecorr-traces', version 1; got 'other'",
    schema_on_the_heap: "must have schema 'neurodecorr-traces', version 1; got None",
    a_later_version: "got 'neurodecorr-traces', version 2",
    provenance_no_json: "provenance must be JSON",
    no_unit: "attribute 'units' of /traces/a must be a text; got None",
    no_traces: "must hold the group 'traces'",
}


@pytest.mark.parametrize("forge", HOSTILE, ids=lambda forge: forge.__name__)
def test_a_hostile_file_is_refused(good, forge):
    with h5py.File(good, "r+") as file:
        forge(file["traces"])
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=HOSTILE[forge]) as caught:
        read_traces(good)
    assert "traces.h5" in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


def test_the_file_the_hostile_ones_start_from_is_good(good):
    traces = read_traces(good)
    assert traces["a"].values.tolist() == list(range(20)) and traces["R"].values.shape == (20, 4, 4)


def test_a_flipped_bit_in_the_values_is_noticed(good):
    data = good.read_bytes()
    good.write_bytes(data.replace(np.float64(17).tobytes(), np.float64(18).tobytes()))
    with pytest.raises(CheckpointError, match="must be an undamaged trace file"):
        read_traces(good)


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(good, part):
    data = good.read_bytes()
    good.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match=r"traces\.h5 .*OSError"):
        read_traces(good)


def test_what_is_no_hdf5_file_is_refused(tmp_path):
    (tmp_path / "traces.h5").write_text("no HDF5 file")
    with pytest.raises(CheckpointError, match="must be an undamaged trace file"):
        read_traces(tmp_path)


def test_another_hdf5_file_is_refused(good):
    with pytest.raises(CheckpointError, match="no trace file"):
        read_traces(good.with_name("other.h5"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read .*traces\.h5: No such file"):
        read_traces(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_traces(tmp_path / "pipe")


def test_the_limit_counts_the_variables_asked_for(tmp_path):
    with Recorder(tmp_path / "t.h5", [Variable("a"), Variable("R", (100, 100))]) as recorder:
        for step in range(20):
            recorder.record(step, {"a": step, "R": np.ones((100, 100))})
    with pytest.raises(CheckpointError, match=r"100000 bytes.* 16.*fewer names"):
        read_traces(tmp_path / "t.h5", max_bytes=100_000)
    assert read_traces(tmp_path / "t.h5", ["a"], max_bytes=100_000).names == ("a",)


def test_unknown_names_are_refused_with_the_nearest_one(good):
    with pytest.raises(ConfigError, match=r"a trace must be one of 'R', 'a'; got 'r'"):
        read_traces(good, ["r"])
    with pytest.raises(ConfigError, match=r"a trace must be one of 'R', 'a'; got 'b'"):
        _ = read_traces(good)["b"]


def test_traces_are_a_mapping(good):
    traces = read_traces(good)
    assert list(traces) == ["R", "a"] and len(traces) == 2 and "a" in traces and "b" not in traces
    assert dict(traces)["a"] is traces["a"]


def test_parts_of_other_tools_are_left_alone(good):
    # A hardware description lives beside the traces in one file.
    with h5py.File(good, "r+") as file:
        file["version"] = "1.0"
        file["node/nodes/x/type"] = "LI"
        file.attrs["_NCProperties"] = "version=2"
        file.attrs["vector"] = [1, 2, 3]
    traces = read_traces(good)
    assert traces.names == ("R", "a") and traces.metadata == {"tau_s": 0.02}


def test_xarray_reads_the_same_values(good):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(good, group="traces", engine="h5netcdf") as data:
        assert data["R"].dims == ("R_step", "R_axis0", "R_axis1")
        assert data["a"].sel(a_step=7) == 7 and data["R"].shape == (20, 4, 4)
