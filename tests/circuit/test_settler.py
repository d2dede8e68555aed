import numpy as np
import pytest

from neurodecorr.circuit import Circuit, Settler, settle
from neurodecorr.circuit.bounds import recurrence
from neurodecorr.errors import ConfigError, InputError, StabilityError


@pytest.mark.parametrize("kind", ["symmetric", "rotating", "non_normal"])
@pytest.mark.parametrize("relative", [False, True])
def test_true_error_never_exceeds_the_bound_and_the_bound_never_the_tolerance(
    rng, request, kind, relative, exact_error
):
    options = {"symmetric": 30.0, "rotating": 0.8, "non_normal": 2.0}
    R = request.getfixturevalue(kind)(rng, 6, options[kind])
    settler = Settler(Circuit(R), 1e-6, relative)
    for scale in np.geomspace(1e-3, 1e3, 7):
        x = scale * rng.standard_normal(6)
        xbar, bound = settler(x)
        allowed = 1e-6 * (np.linalg.norm(xbar) - bound if relative else 1.0)
        assert exact_error(R, x, xbar) <= bound <= allowed


def test_the_compiled_loop_takes_the_steps_of_the_batch(rng, symmetric):
    # 64 units and 8 samples go through matrix products, single samples through the compiled loop.
    circuit, X = Circuit(symmetric(rng, 64, 30.0)), rng.standard_normal((8, 64))
    batch, settler = settle(circuit, X, 1e-8), Settler(circuit, 1e-8, method="chebyshev")
    for k in range(8):
        alone = settle(circuit, X[k], 1e-8)
        assert alone.products == batch.products[k]
        assert np.abs(alone.xbar - batch.xbar[k]).max() <= 1e-13
        assert np.array_equal(settler(X[k])[0], alone.xbar)


def test_samples_beyond_the_compiled_loop_are_settled_all_the_same(rng, exact_error):
    # A chain that grows 1.5⁵-fold before it decays, and a tolerance below the rounding of a plain residual.
    R = np.eye(12) - 1.5 * np.eye(12, k=1)
    x = rng.standard_normal(12)
    xbar, bound = Settler(Circuit(R), 1e-6)(x)
    assert exact_error(R, x, xbar) <= bound <= 1e-6
    R = np.diag([1.0, 3.0])
    xbar, bound = Settler(Circuit(R), 1e-6)(R @ [1e8, 1e8 + 1])
    assert exact_error(R, R @ [1e8, 1e8 + 1], xbar) <= bound <= 1e-6


def test_two_population_circuits_and_batches_and_lists_take_the_careful_way(rng):
    R = rng.standard_normal((4, 4))
    x = rng.standard_normal(4)
    xbar, bound = Settler(Circuit(R).two_population(), 1e-7)(x)
    assert np.linalg.norm(R @ xbar - x) <= 1e-5 and bound <= 1e-7
    settler = Settler(Circuit([[2.0]]))
    assert abs(settler([4.0])[0] - 2) <= 1e-6
    assert settler(np.array([[4.0], [2.0]]))[1].shape == (2,)
    with pytest.raises(InputError, match="got 3"):
        Settler(Circuit(R.T @ R + np.eye(4)))(np.zeros(3))
    with pytest.raises(InputError, match="found nan at row 0, column 1"):
        Settler(Circuit(np.eye(2)))(np.array([1.0, np.nan]))


def test_single_precision_is_certified_in_double(rng, symmetric):
    R = symmetric(rng, 8, 4.0).astype(np.float32)
    x = rng.standard_normal(8).astype(np.float32)
    xbar, bound = Settler(Circuit(R), 1e-4)(x)
    assert xbar.dtype == np.float32
    assert np.linalg.norm(xbar - np.linalg.solve(R.astype(float), x.astype(float))) <= bound <= 1e-4


def test_unstable_circuits_and_bad_tolerances_are_refused():
    with pytest.raises(StabilityError, match="unit 1"):
        Settler(Circuit(np.diag([1.0, -1.0])))
    with pytest.raises(ConfigError, match="tol must be > 0"):
        Settler(Circuit(np.eye(2)), 0.0)


def test_coefficients_end_where_they_no_longer_change():
    from neurodecorr.circuit.bounds import Ellipse

    long = recurrence(Ellipse(2.5, 1.5, 1 / 3), 1000)
    assert len(long) < 60
    # The limit of α_k is 2/(d + √(d² − c²)), of ω_k its square times c²/4.
    limit = 2 / (2.5 + 2.0)
    assert np.allclose(long[-1], [limit, (1.5 * limit / 2) ** 2], rtol=1e-14)
