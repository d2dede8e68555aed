"""What a circuit keeps from earlier calls: answers at once, each certified, the same in every thread."""

import threading

import numpy as np
import pytest

from neurodecorr.circuit import Circuit, settle
from neurodecorr.circuit.bounds import recurrence
from neurodecorr.circuit.prepared import WORTH_INVERTING
from neurodecorr.errors import ConfigError, InputError, StabilityError


def kept(R, tol=1e-6, relative=False, calls=40):
    """A circuit that has settled so many single samples that it keeps its inverse."""
    circuit = Circuit(R)
    for _ in range(calls):
        settle(circuit, np.zeros(len(R), R.dtype), tol, relative=relative)
    return circuit


@pytest.mark.parametrize("kind", ["symmetric", "rotating", "non_normal"])
@pytest.mark.parametrize("relative", [False, True])
def test_true_error_never_exceeds_the_bound_and_the_bound_never_the_tolerance(
    rng, request, kind, relative, exact_error
):
    options = {"symmetric": 30.0, "rotating": 0.8, "non_normal": 2.0}
    R = request.getfixturevalue(kind)(rng, 6, options[kind])
    circuit = Circuit(R)
    for scale in np.geomspace(1e-3, 1e3, 7):  # by factors first, then by the inverse that is kept
        x = scale * rng.standard_normal(6)
        found = settle(circuit, x, relative=relative)
        allowed = 1e-6 * (np.linalg.norm(found.xbar) - found.bound if relative else 1.0)
        assert exact_error(R, x, found.xbar) <= found.bound <= allowed
        assert np.linalg.norm(x - R @ found.xbar) <= found.residual * (1 + 1e-12)


@pytest.mark.parametrize("n", [5, 16, 32])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("relative", [False, True])
def test_samples_alone_and_together_and_of_both_types_are_certified(rng, symmetric, n, dtype, relative):
    R, X = symmetric(rng, n, 30.0).astype(dtype), rng.standard_normal((9, n)).astype(dtype)
    X[3] *= 1e9  # far beyond what the inverse proves to an absolute 1e-5: this one goes with care
    rest, circuit = np.linalg.solve(R.astype(float), X.T.astype(float)).T, kept(R, 1e-5, relative)
    together = settle(circuit, X, 1e-5, relative=relative)
    for k in range(9):
        for found in (settle(circuit, X[k], 1e-5, relative=relative), together.sample(k)):
            error, size = np.linalg.norm(found.xbar - rest[k]), np.linalg.norm(rest[k])
            assert found.xbar.dtype == dtype and error <= found.bound + 1e-13 * size
            if relative or k != 3:
                assert found.bound <= 1e-5 * (size if relative else 1.0) and found.outcome == "settled"


def test_steps_and_time_of_algebra_are_those_of_the_dynamics(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 8, 30.0)), rng.standard_normal((5, 8))
    found, run = settle(circuit, X), settle(circuit, X, method="chebyshev")
    assert found.method == "direct" and "steps" not in vars(found)
    X += 1.0  # what the user does with the samples afterwards changes nothing
    assert np.array_equal(found.steps, run.steps) and np.array_equal(found.time, run.time)
    again = settle(circuit, X[1] - 1.0)
    assert again.steps == run.steps[1] and again.time == run.time[1] and found.sample(1).steps == run.steps[1]
    with pytest.raises(AttributeError, match="no attribute 'speed'"):
        _ = found.speed


@pytest.mark.parametrize("method", ["auto", "direct"])
@pytest.mark.parametrize("relative", [False, True])
def test_batches_beyond_the_number_of_units_are_certified_by_the_inverse(rng, rotating, method, relative, exact_error):
    circuit, X = Circuit(rotating(rng, 12, 0.8)), rng.standard_normal((40, 12)) * np.geomspace(1e-3, 1e3, 40)[:, None]
    found = settle(circuit, X, relative=relative, method=method)
    assert vars(circuit)["_prepared"]._inverse is not None and found.method == "direct" and found.settled.all()
    for x, xbar, bound in zip(X, found.xbar, found.bound, strict=True):
        assert exact_error(circuit.R, x, xbar) <= bound <= 1e-6 * (np.linalg.norm(xbar) if relative else 1.0)
    np.testing.assert_allclose(found.xbar, np.linalg.solve(circuit.R, X.T).T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_direct_gives_the_same_digits_whatever_came_before(rng, rotating, rows):
    circuit, X = Circuit(rotating(rng, 12, 0.8)), rng.standard_normal((rows, 12))
    X = X[0] if rows == 1 else X
    first = settle(circuit, X, method="direct")
    for other in (*rng.standard_normal((30, 12)), rng.standard_normal((50, 12))):
        settle(circuit, other)
    again = settle(circuit, X, method="direct")
    np.testing.assert_array_equal(first.xbar, again.xbar)
    np.testing.assert_array_equal(first.bound, again.bound)


def test_what_the_inverse_cannot_prove_is_refined(rng, symmetric):
    circuit = Circuit(symmetric(rng, 12, 1e9))
    X = rng.standard_normal((40, 12)) @ circuit.R
    found = settle(circuit, X, 1e-6, relative=True, method="direct")
    assert found.settled.all() and (found.bound <= 1e-6 * np.linalg.norm(found.xbar, axis=1)).all()


def test_direct_takes_no_steps_and_no_time(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 8, 30.0)), rng.standard_normal((5, 8))
    found = settle(circuit, X, method="direct")
    assert np.array_equal(found.steps, np.zeros(5)) and np.isnan(found.time).all()
    one = settle(circuit, X[0], method="direct")
    assert one.steps == 0 and np.isnan(one.time)


def test_the_inverse_is_made_once_it_pays_and_whatever_the_order_of_threads(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 64, 10.0)), rng.standard_normal((8, 64))
    rest = np.linalg.solve(circuit.R, X.T).T
    settle(circuit, X[0])
    assert not len(vars(circuit)["_prepared"]._plan)
    answers = [None] * 8

    def ask(k):
        answers[k] = [settle(circuit, X[k]) for _ in range(int(2 + 64 * WORTH_INVERTING))]

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vars(circuit)["_prepared"]._plan)
    for k in range(8):
        assert all(np.linalg.norm(found.xbar - rest[k]) <= found.bound <= 1e-6 for found in answers[k])


def test_what_the_prepared_path_cannot_prove_is_settled_all_the_same(rng, exact_error):
    # A chain that grows 1.5⁵-fold before it decays, and a tolerance below the rounding of a plain residual.
    R = np.eye(12) - 1.5 * np.eye(12, k=1)
    x, circuit = rng.standard_normal(12), kept(R)
    found = settle(circuit, x)
    assert exact_error(R, x, found.xbar) <= found.bound <= 1e-6
    R = np.diag([1.0, 3.0])
    found = settle(kept(R), R @ [1e8, 1e8 + 1])
    assert exact_error(R, R @ [1e8, 1e8 + 1], found.xbar) <= found.bound <= 1e-6
    tight = settle(kept(R), np.ones(2), 1e-19)
    assert tight.outcome == "precision" and tight.bound < 1e-14


def test_questions_for_the_careful_way_get_its_answers_and_its_errors(rng):
    R = rng.standard_normal((4, 4))
    x, pair = rng.standard_normal(4), Circuit(R).two_population()
    for _ in range(3):
        found = settle(pair, x, 1e-7)
        assert np.linalg.norm(R @ found.xbar - x) <= 1e-5 and found.bound <= 1e-7
    circuit = kept(np.diag([2.0, 4.0]))
    assert np.allclose(settle(circuit, [4.0, 4]).xbar, [2, 1]) and np.allclose(settle(circuit, [[4, 4]]).xbar, [[2, 1]])
    assert settle(circuit, np.array([4, 8])).xbar.dtype == settle(circuit, np.ones(2, np.float32)).xbar.dtype == float
    for X, options, error in [
        (np.zeros(3), {}, InputError),
        (np.array([1.0, np.nan]), {}, InputError),
        (np.array([[1.0, np.inf]]), {}, InputError),
        (np.zeros((0, 2)), {}, InputError),
        (np.ones(2), {"tol": 0.0}, ConfigError),
        (np.ones(2), {"tol": np.nan}, ConfigError),
        (np.ones(2), {"tol": "small"}, ConfigError),
        (np.ones(2), {"relative": "yes"}, ConfigError),
    ]:
        with pytest.raises(error):
            settle(circuit, X, **options)
    with pytest.raises(StabilityError, match="unit 1"):
        settle(Circuit(np.diag([1.0, -1.0])), np.ones(2))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_kept_inverse_that_is_damaged_proves_nothing_false(rng, symmetric, dtype):
    # The proof must come from the residual of what is returned, not from how M was made.
    R, X = symmetric(rng, 20, 10.0).astype(dtype), rng.standard_normal((30, 20)).astype(dtype)
    exact, circuit = np.linalg.solve(R.astype(float), X.T.astype(float)).T, kept(R)
    prepared = vars(circuit)["_prepared"]
    for damage in (1e-2, 1e-8):
        broken = prepared._plan.copy()
        broken[8 + 32 + 5] += damage  # an entry of M
        broken.setflags(write=False)
        prepared._plan = broken
        for x, rest in zip(X, exact, strict=True):
            found = settle(circuit, x, 1e-4)
            assert np.linalg.norm(found.xbar - rest) <= found.bound + 1e-12 and found.bound <= 1e-4


def test_the_bound_of_kept_factors_holds_for_factors_that_are_off(rng, symmetric, monkeypatch):
    circuit, X = Circuit(symmetric(rng, 20, 10.0)), rng.standard_normal((50, 20))
    exact, solve = np.linalg.solve(circuit.R, X.T).T, circuit.factors.solve
    monkeypatch.setattr(circuit.factors, "solve", lambda U: solve(U) * (1 + 1e-8))
    for found in (settle(circuit, X, 1e-5), settle(circuit, X[0], 1e-5)):
        error = np.atleast_1d(np.linalg.norm(found.xbar - exact[: np.size(found.bound)], axis=-1))
        assert (error >= 0.5e-8 * np.linalg.norm(exact[: len(error)], axis=1)).all()
        assert (error <= found.bound).all()


def test_coefficients_end_where_they_no_longer_change():
    from neurodecorr.circuit.bounds import Ellipse

    long = recurrence(Ellipse(2.5, 1.5, 1 / 3), 1000)
    assert len(long) < 60
    # The limit of α_k is 2/(d + √(d² − c²)), of ω_k its square times c²/4.
    limit = 2 / (2.5 + 2.0)
    assert np.allclose(long[-1], [limit, (1.5 * limit / 2) ** 2], rtol=1e-14)
