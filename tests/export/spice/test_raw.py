"""Raw files are read as ngspice writes them, in binary and in text, and not trusted."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecorr.errors import InputError
from neurodecorr.export.spice.raw import read_raw

HEAD = """Title: * test
Date: Sat Nov 21 14:25:00  2026
Plotname: {name}
Flags: {flags}
No. Variables: {variables}
No. Points: {points}
Variables:
"""


def raw(data, binary=True, name="Transient Analysis", flags="real", **claims):
    data = np.atleast_2d(data)
    points, variables = data.shape
    head = HEAD.format(name=name, flags=flags, **({"points": f"{points}      ", "variables": variables} | claims))
    columns = ["time\ttime", *(f"v(x{k})\tvoltage" for k in range(variables - 1))]
    head += "".join(f"\t{k}\t{column}\n" for k, column in enumerate(columns))
    if binary:
        return head.encode() + b"Binary:\n" + data.tobytes()
    spell = (lambda z: f"{z.real!r},{z.imag!r}") if "complex" in flags else repr
    rows = ["\n\t".join(spell(value.item()) for value in row) for row in data]
    return (head + "Values:\n" + "".join(f" {k}\t{row}\n\n" for k, row in enumerate(rows))).encode()


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "out.raw"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("flags", ["real", "complex"])
def test_numbers_come_back_to_the_bit(binary, flags, file):
    data = np.random.default_rng(0).standard_normal((5, 3)) * 10.0 ** np.arange(-20, -5).reshape(5, 3)
    if flags == "complex":
        data = data + 1j * data[::-1]
    (plot,) = read_raw(file(raw(data, binary, flags=flags)))
    np.testing.assert_array_equal(plot.data, data)
    assert plot.variables == ("time", "v(x0)", "v(x1)") and plot.kinds == ("time", "voltage", "voltage")
    assert plot.title == "* test" and plot.name == "Transient Analysis"
    np.testing.assert_array_equal(plot.column("V(X1)"), data[:, 2])


@pytest.mark.parametrize("binary", [True, False])
def test_analyses_one_after_the_other_are_all_read(binary, file):
    content = raw([[0.0, 1.0]], binary, "Operating Point") + raw([[0.0, 1.0], [1.0, 2.0]], binary)
    one, other = read_raw(file(content))
    assert one.name == "Operating Point" and one.data.shape == (1, 2) and other.data.shape == (2, 2)


def test_a_list_of_variables_may_begin_on_the_line_of_its_title(file):
    content = raw([[0.0, 1.0]]).replace(b"Variables:\n\t0", b"Variables: 0")
    assert read_raw(file(content))[0].data.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"not a raw file\n", "must be a raw file of SPICE; at byte 0"),
        (raw([[0.0, 1.0]])[:-1], "claims 1 × 2 numbers, 16 bytes; 15 are left"),
        (raw([[0.0, 1.0]], points=10**11), "bytes; 16 are left"),
        (raw([[0.0, 1.0]], False, points=10**11), "claims 100000000000 × 2 numbers"),
        (raw([[0.0, 1.0]], False, points=2), "must hold 2 ×"),
        (raw([[0.0, 1.0]], points="many"), "'no. points' as a whole number; got 'many'"),
        (raw([[0.0, 1.0]], points="-1"), "'no. points' as a whole number"),
        (raw([[0.0, 1.0]], variables=3), "list 3 variables"),
        (raw([[0.0, 1.0]], variables=10**9), "at most 1048576 are read"),
        (raw([[0.0, 1.0]]).replace(b"Binary:", b"Bananas:"), "'Binary:' or 'Values:'"),
        (raw([[0.0, 1.0]], False).replace(b"1.0", b"one"), "numbers after 'Values:'"),
        (raw([[0.0, 1.0]]).replace(b"\t1\tv(x0)", b"\t7\tv(x0)"), "line 1 does not"),
    ],
    ids=[
        "empty",
        "other",
        "short",
        "huge",
        "huge-text",
        "short-text",
        "words",
        "negative",
        "variables",
        "many-variables",
        "mark",
        "text",
        "order",
    ],
)
def test_files_that_claim_more_than_they_hold_are_refused(content, message, file):
    with pytest.raises(InputError, match=message):
        read_raw(file(content))


def test_an_unknown_column_is_told_with_those_there_are(file):
    with pytest.raises(InputError, match=r"'v\(y\)' must be one of the variables time, v\(x0\)"):
        read_raw(file(raw([[0.0, 1.0]])))[0].column("v(y)")


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path, file, monkeypatch):
    with pytest.raises(InputError, match="cannot read the raw file"):
        read_raw(tmp_path / "absent.raw")
    monkeypatch.setattr("neurodecorr.export.spice.raw.LARGEST", 100)
    with pytest.raises(InputError, match="at most 100 bytes"):
        read_raw(file(raw([[0.0, 1.0]])))


@given(cut=st.integers(0, 300), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_never_crashes(cut, at, byte, tmp_path_factory):
    content = bytearray(raw([[0.0, 1.0], [1.0, 2.0]]))
    content[at % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.raw"
    path.write_bytes(bytes(content[: len(content) - cut]))
    with suppress(InputError):
        read_raw(path)


def test_binary_numbers_are_those_of_this_machine(file):
    assert read_raw(file(raw([[0.0, 1.5]])))[0].data[0, 1] == struct.unpack("=d", struct.pack("=d", 1.5))[0]


def test_ngspice_writes_what_is_read(ngspice, tmp_path):
    import subprocess

    (tmp_path / "a.cir").write_text("* rc\nI1 0 a DC 1\nR1 a 0 2\nC1 a 0 1 IC=0\n.op\n.tran 1 4 uic\n.end\n")
    subprocess.run(
        ["ngspice", "-n", "-b", "-r", "a.raw", "a.cir"], cwd=tmp_path, check=True, capture_output=True, timeout=600
    )
    rest, course = read_raw(tmp_path / "a.raw")
    assert rest.column("v(a)")[0] == pytest.approx(2.0, rel=1e-9)
    np.testing.assert_allclose(course.column("v(a)"), 2 * (1 - np.exp(-course.column("time") / 2)), atol=2e-3)
