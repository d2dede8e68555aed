"""The low-rank step of M by panels, and passes over rows, against plain numpy in double precision."""

import numpy as np
import pytest

from neurodecorr.network import decorrelators, panels
from neurodecorr.network.algebra import add_row, sum_rows
from neurodecorr.plasticity import rules

EPS = {np.float32: 2.0**-24, np.float64: 2.0**-53}


def drawn(n, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    M = (np.eye(n) + 0.05 * rng.standard_normal((n, n))).astype(dtype)
    return M, rng.standard_normal((k, n)).astype(dtype), rng.uniform(0.9, 1.1, n).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "k"), [(6, 1), (64, 6), (67, 7), (130, 26), (300, 5)])
def test_a_step_by_panels_is_the_product_written_out(n, k, dtype):
    M, X, gain = drawn(n, k, dtype)
    Y = np.asarray(drawn(n, k, dtype, 1)[1] / n, dtype)
    wide = [A.astype(np.longdouble) for A in (M, X, Y, gain)]
    expected = wide[3][:, None] * (wide[0] - wide[2].T @ (wide[1] @ wide[0]))
    # Each sum of N terms is off by less than N units of rounding of the sum of their sizes.
    sizes = wide[3][:, None] * (abs(wide[0]) + abs(wide[2]).T @ (abs(wide[1]) @ abs(wide[0])))
    panels.step_down(M, X, Y, gain)
    assert (abs(M - expected) <= (n + k + 4) * EPS[dtype] * sizes).all()


@pytest.mark.parametrize("rule", ["explicit", "implicit"])
@pytest.mark.parametrize("gain", [0.97, "node"])
def test_large_and_small_layers_take_the_same_step(rule, gain, monkeypatch):
    M, X, factors = drawn(panels.LEAST, 20, np.float64)
    gain = factors if gain == "node" else gain
    by_panels, by_blas = M.copy(), M.copy()
    decorrelators.shrink(by_panels, X, rule, 1e-3, gain)
    monkeypatch.setattr(panels, "LEAST", panels.LEAST + 1)
    decorrelators.shrink(by_blas, X, rule, 1e-3, gain)
    assert abs(by_panels - by_blas).max() < 1e-12
    assert not np.array_equal(by_panels, M)


def test_a_step_by_panels_is_the_same_bit_for_bit_when_repeated():
    M, X, gain = drawn(300, 26, np.float32)
    again = M.copy()
    panels.step_down(M, X, X, gain)
    panels.step_down(again, X, X, gain)
    assert np.array_equal(M, again)


def test_a_number_that_is_not_finite_shows_in_its_column():
    M, X, gain = drawn(70, 3, np.float32)
    M[3, 66] = np.nan
    panels.step_down(M, X, X, gain)
    assert np.array_equal(np.isnan(M).any(axis=0), np.arange(70) == 66)


@pytest.mark.parametrize("silent", [False, True])
def test_the_gain_of_a_layer_is_that_of_the_twin_rules(silent):
    _, X, _ = drawn(50, 9, np.float32)
    Xbar = 0 * X if silent else 1.3 * X + X[:, ::-1]
    expected = float(rules.power_gain(X.astype(float), Xbar.astype(float), "layer")[0])
    assert decorrelators.layer_power_gain(X, Xbar, "layer") == pytest.approx(expected, rel=1e-5)


def test_passes_over_rows_are_those_of_numpy():
    _, X, row = drawn(33, 40, np.float32)
    assert np.array_equal(sum_rows(X), X.sum(axis=0))
    moved = X.copy()
    add_row(moved, row)
    assert np.array_equal(moved, X + row)
    turned = np.asfortranarray(X)  # other orders in memory take the general way
    add_row(turned, row)
    assert np.array_equal(turned, moved)
