"""Formats of the weights: the table of connections, fixed point, CSV."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurodecorr.circuit import Circuit
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.export.bundle import Formats
from neurodecorr.export.bundle.contents import make_contents, topology_text
from neurodecorr.export.bundle.fixed_point import to_fixed_point
from neurodecorr.io.cells import matrix_text

square_matrices = st.integers(1, 5).flatmap(
    lambda n: hnp.arrays(np.float64, (n, n), elements=st.floats(allow_nan=False, allow_infinity=False))
)


def bits_of(A):
    return np.asarray(A, np.float64).tobytes()


def connections(text):
    """Return R from the table of its connections."""
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")][1:]
    R = np.zeros((sum(kind == "input" for _, _, kind, _, _ in rows),) * 2)
    for pre, post, kind, weight, _ in rows:
        if kind != "input":
            R[int(post[1:]), int(pre[1:])] = float(weight)
    return R


@given(square_matrices)
@settings(max_examples=60, deadline=None)
def test_the_table_of_connections_rebuilds_r_to_the_bit(R):
    assert bits_of(connections(topology_text(R))) == bits_of(R)


@given(square_matrices)
@settings(max_examples=60, deadline=None)
def test_tables_of_numbers_come_back_to_the_bit(A):
    text = matrix_text(["A, with a comma"], A, [f"u{j}" for j in range(len(A))], range(len(A)), "row")
    rows = [line.split(",")[1:] for line in text.splitlines() if not line.startswith("#")]
    assert bits_of([[float(cell) for cell in row] for row in rows[1:]]) == bits_of(A)


def test_every_table_of_a_circuit_states_its_time_constant():
    contents = make_contents(Circuit([[2.0, 1.0], [0.5, 2.0]], 0.035), np.ones((2, 2)), np.zeros(2), Formats())
    tables = contents.tables()
    assert len(tables) == 9
    for name, text in tables.items():
        assert sum("tau = 0.035 s" in line for line in text.splitlines() if line.startswith("#")) == 1, name


def test_kinds_say_what_a_synapse_does_in_the_equation():
    # τ dx̄_0/dt = x_0 − 2 x̄_0 − 0.5 x̄_1 + 0.25 x̄_2: unit 1 inhibits unit 0, unit 2 excites it.
    rows = topology_text(np.array([[2.0, 0.5, -0.25], [0, 1.0, 0], [0, 0, 1.0]])).splitlines()
    assert {"u0,u0,leak,2.0,1", "u1,u0,inhibitory,0.5,1", "u2,u0,excitatory,-0.25,1", "x0,u0,input,1.0,1"} <= set(rows)
    assert not any(row.startswith("u0,u1,") for row in rows)


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6, allow_subnormal=False)),
    st.integers(2, 32),
)
@settings(max_examples=80, deadline=None)
def test_no_fixed_point_weight_is_off_by_more_than_half_a_step_and_no_finer_format_fits(W, bits):
    fixed = to_fixed_point(W, bits)
    most = 2 ** (bits - 1) - 1
    assert np.abs(fixed.weights() - W).max() <= fixed.step / 2
    assert np.abs(fixed.integers.astype(np.int64)).max() <= most
    if W.any():
        assert np.rint(np.abs(W).max() / (fixed.step / 2)) > most  # one more bit after the point overflows


def test_fixed_point_formats_have_their_usual_names():
    # Sign bit, then 1 + 14 and 0 + 7 bits: 16 and 8 in all.
    assert to_fixed_point(np.array([[1.5]]), 16).name == "Q1.14"
    assert to_fixed_point(np.array([[0.9]]), 8).name == "Q0.7"
    # 0.999 rounds to 128/128 with seven bits, which eight bits with their sign do not hold.
    assert to_fixed_point(np.array([[0.999]]), 8).name == "Q1.6"


@pytest.mark.parametrize(
    ("bits", "W", "error"), [(1, [[1.0]], ConfigError), (33, [[1.0]], ConfigError), (8, [1.0], InputError)]
)
def test_impossible_formats_are_refused(bits, W, error):
    with pytest.raises(error, match=r"bits must be 2 … 32|must be a matrix"):
        to_fixed_point(W, bits)
